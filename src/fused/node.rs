//! The node of a fused loss: value and gradient at once, the composed form where the gradient is differentiated.

use crate::{
    LossError, Result,
    autograd::{self, Context, Function, Grad},
};
use tch::{Kind, Tensor};

/// A loss and, if it was wanted, its gradient.
pub(super) struct Pass {
    pub(super) value: Tensor,
    pub(super) gradient: Option<Tensor>,
}

/// Room for the gradient of `input`, if it is wanted.
///
/// In `Float` for an input in `Half`, which is too narrow for a gradient that is yet to be multiplied by the loss's own.
pub(super) fn room(input: &Tensor, wanted: bool) -> Result<Option<Tensor>> {
    Ok(match input.f_kind()? {
        _ if !wanted => None,
        Kind::Half => Some(Tensor::f_empty(input.size(), (Kind::Float, input.device()))?),
        _ => Some(input.f_empty_like()?),
    })
}

/// The value of `pass` as part of `input`'s graph. `composed` is the same loss of libtorch's operations, of the same `constants`.
///
/// `pass` is told whether to compute the gradient.
pub(super) fn record<'a>(
    input: &Tensor,
    constants: impl IntoIterator<Item = Option<&'a Tensor>>,
    pass: impl FnOnce(bool) -> Result<Pass>,
    composed: impl Fn(&Tensor) -> Result<Tensor> + Send + 'static,
) -> Result<Tensor> {
    super::count_one();
    if !(input.requires_grad() && autograd::is_recording()) {
        return Ok(pass(false)?.value);
    }
    let Pass { value, gradient } = pass(true)?;
    let constants = constants.into_iter().flatten().map(Tensor::shallow_clone).collect();
    let (value, kind, composed) = (Some(value), input.f_kind()?, Box::new(composed));
    let node = Node { value, gradient, kind, constants, composed };
    Ok(autograd::f_apply(node, &[input])?.remove(0))
}

type Composed = Box<dyn Fn(&Tensor) -> Result<Tensor> + Send>;

struct Node {
    value: Option<Tensor>,
    gradient: Option<Tensor>,
    /// Of the input.
    kind: Kind,
    /// Until they are saved, with their versions: the composed form must not find them changed.
    constants: Vec<Tensor>,
    composed: Composed,
}

impl Function for Node {
    fn forward(&mut self, context: &mut Context, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let constants = std::mem::take(&mut self.constants);
        let all: Vec<_> = std::iter::once(&inputs[0]).chain(&constants).collect();
        context.save_for_backward(&all)?;
        Ok(self.value.take().into_iter().collect())
    }

    fn backward(
        &mut self,
        context: &Context,
        gradients: &[Option<Tensor>],
    ) -> Result<Vec<Option<Tensor>>> {
        let Some(outer) = &gradients[0] else { return Ok(vec![None]) };
        if context.creates_graph() {
            let input = context.saved()?.remove(0);
            let loss = (self.composed)(&input)?;
            let weights = [outer];
            let grad = Grad::default().create_graph(true).grad_outputs(&weights);
            return grad.f_of(&[&loss], &[&input]);
        }
        const FREED: LossError = LossError::Graph {
            loss: "fused loss",
            message: "backward through the graph a second time; keep the graph the first time",
        };
        let outer = outer.detach();
        if context.keeps_graph() {
            let gradient = self.gradient.as_ref().ok_or(FREED)?;
            return Ok(vec![Some(gradient.f_mul(&outer)?.f_to_kind(self.kind)?)]);
        }
        let mut gradient = self.gradient.take().ok_or(FREED)?;
        if outer.f_double_value(&[])? != 1.0 {
            let _ = gradient.f_mul_(&outer)?;
        }
        Ok(vec![Some(gradient.f_to_kind(self.kind)?)])
    }
}
