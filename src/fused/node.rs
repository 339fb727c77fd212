//! The node of a fused loss: value and gradient at once, the composed form where the gradient is differentiated.

use super::data::Computed;
use crate::{
    LossError, MeanOver, Reduction, Result,
    autograd::{self, Context, Function, Grad},
    reduce::Kept,
};
use tch::{Device, Kind, Tensor};

/// A loss in its form of libtorch's operations, which stands wherever the kernel does not.
pub(crate) trait Composed: Clone + Send + 'static {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor>;
}

/// A kernel with its operands.
pub(super) trait Pass {
    /// Computes in `T` and returns the loss; writes the gradient, all of it, where there is room for one.
    fn run<T: Computed>(self, gradient: Option<&mut Tensor>) -> f64;
}

/// What the weighted sum of the losses is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denominator {
    One,
    Elements,
    Weights,
}

impl Denominator {
    /// `None` without reduction.
    pub(super) fn of(reduction: Reduction, mean_over: MeanOver) -> Option<Self> {
        match (reduction, mean_over) {
            (Reduction::Sum, _) => Some(Denominator::One),
            (Reduction::Mean, MeanOver::Weights) => Some(Denominator::Weights),
            (Reduction::Mean, MeanOver::Elements) => Some(Denominator::Elements),
            _ => None,
        }
    }

    /// What the sum is multiplied by; as [`reduce::ratio`](crate::reduce::ratio), where nothing counts, that is 1.
    pub(super) fn scale(self, elements: usize, weights: impl FnOnce() -> f64) -> f64 {
        let denominator = match self {
            Denominator::One => 1.0,
            Denominator::Elements => elements as f64,
            Denominator::Weights => weights(),
        };
        if denominator <= 0.0 { 1.0 } else { 1.0 / denominator }
    }
}

/// The loss of `input` by the kernel that `pass` makes, composed where it makes none or a kernel does not apply.
///
/// `others` are constant to the loss, as its target and the weight are.
pub(super) fn fused_or_composed<P: Pass>(
    loss: &impl Composed,
    [input, target]: [&Tensor; 2],
    weight: Option<&Tensor>,
    others: &[Option<&Tensor>],
    pass: impl FnOnce() -> Option<P>,
) -> Result<Tensor> {
    let constants = || [Some(target), weight].into_iter().chain(others.iter().copied());
    let pass = if super::applies(input, constants()) { pass() } else { None };
    let Some(pass) = pass else { return loss.composed(input, target, weight) };
    record(input, constants(), pass, || {
        let (loss, target, weight) = (loss.clone(), Kept::of(target), weight.map(Kept::of));
        move |input| loss.composed(input, &target.0, weight.as_ref().map(|kept| &kept.0))
    })
}

/// The value of `pass` as part of `input`'s graph; `composed` makes the same loss of libtorch's operations and `constants`.
pub(super) fn record<'a, C: Fn(&Tensor) -> Result<Tensor> + Send + 'static>(
    input: &Tensor,
    constants: impl IntoIterator<Item = Option<&'a Tensor>>,
    pass: impl Pass,
    composed: impl FnOnce() -> C,
) -> Result<Tensor> {
    super::count_one();
    let kind = input.f_kind()?;
    let recorded = input.requires_grad() && autograd::is_recording();
    let mut gradient = if recorded { Some(room(input)?) } else { None };
    let value = match kind {
        Kind::Double => scalar::<f64>(pass.run::<f64>(gradient.as_mut()))?,
        _ => scalar::<f32>(pass.run::<f32>(gradient.as_mut()))?,
    };
    if gradient.is_none() {
        return Ok(value);
    }
    let constants = constants.into_iter().flatten().map(Tensor::shallow_clone).collect();
    let (value, composed) = (Some(value), Box::new(composed()));
    let node = Node { value, gradient, kind, constants, composed };
    Ok(autograd::f_apply(node, &[input])?.remove(0))
}

/// Room for the gradient of `input`.
///
/// In `Float` for an input in `Half`, which is too narrow for a gradient that is yet to be multiplied by the loss's own.
fn room(input: &Tensor) -> Result<Tensor> {
    Ok(match input.f_kind()? {
        Kind::Half => Tensor::f_empty(input.size(), (Kind::Float, input.device()))?,
        _ => input.f_empty_like()?,
    })
}

/// A number in the kind that is computed in.
pub(super) fn scalar<T: Computed>(value: f64) -> Result<Tensor> {
    Ok(Tensor::f_full([0i64; 0].as_slice(), value, (T::KIND, Device::Cpu))?)
}

type OfInput = Box<dyn Fn(&Tensor) -> Result<Tensor> + Send>;

struct Node {
    value: Option<Tensor>,
    gradient: Option<Tensor>,
    /// Of the input.
    kind: Kind,
    /// Until they are saved, with their versions: the composed form must not find them changed.
    constants: Vec<Tensor>,
    composed: OfInput,
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
        // A number on the CPU, as the loss is: nothing waits for a device.
        if outer.f_double_value(&[])? != 1.0 {
            let _ = gradient.f_mul_(&outer)?;
        }
        Ok(vec![Some(gradient.f_to_kind(self.kind)?)])
    }
}
