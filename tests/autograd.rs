//! Custom autograd functions: values, graphs, errors, panics, and what is freed when.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};
use tch::{Kind, Tensor};
use tch_losses::{
    LossError, Result,
    autograd::{self, Context, Function, Grad},
};

/// `exp`, with the gradient from its saved output.
#[derive(Default)]
struct Exp {
    dropped: Option<Arc<AtomicUsize>>,
}

impl Drop for Exp {
    fn drop(&mut self) {
        if let Some(count) = &self.dropped {
            count.fetch_add(1, SeqCst);
        }
    }
}

impl Function for Exp {
    fn forward(&mut self, context: &mut Context, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let output = inputs[0].f_exp()?;
        context.save_for_backward(&[&output])?;
        Ok(vec![output])
    }

    fn backward(
        &mut self,
        context: &Context,
        gradients: &[Option<Tensor>],
    ) -> Result<Vec<Option<Tensor>>> {
        let gradient = gradients[0].as_ref().expect("one output, so it has a gradient");
        Ok(vec![Some(context.saved()?[0].f_mul(gradient)?)])
    }
}

/// `(a b, a + b, index of the larger)`
struct Pair;

impl Function for Pair {
    fn forward(&mut self, context: &mut Context, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let (a, b) = (&inputs[0], &inputs[1]);
        context.save_for_backward(&[a, b])?;
        Ok(vec![a.f_mul(b)?, a.f_add(b)?, a.f_lt_tensor(b)?])
    }

    fn backward(
        &mut self,
        context: &Context,
        gradients: &[Option<Tensor>],
    ) -> Result<Vec<Option<Tensor>>> {
        let saved = context.saved()?;
        let side = |input: usize| -> Result<Option<Tensor>> {
            if !context.needs_gradient(input) {
                return Ok(None);
            }
            let mut total = saved[0].f_zeros_like()?;
            if let Some(product) = &gradients[0] {
                total = total.f_add(&product.f_mul(&saved[1 - input])?)?;
            }
            if let Some(sum) = &gradients[1] {
                total = total.f_add(sum)?;
            }
            Ok(Some(total))
        };
        Ok(vec![side(0)?, side(1)?])
    }
}

fn leaf(values: &[f64]) -> Tensor {
    Tensor::from_slice(values).set_requires_grad(true)
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.detach()).expect("a vector of Double")
}

#[test]
fn values_and_gradients() {
    let x = leaf(&[0.0, 1.0]);
    let y = autograd::apply(Exp::default(), &[&x]).remove(0);
    assert!(y.requires_grad());
    y.sum(None::<Kind>).backward();
    assert_eq!(numbers(&x.grad()), numbers(&x.exp()));
}

#[test]
fn differentiable_twice_through_a_saved_output() {
    let x = leaf(&[0.5, -1.0]);
    let y = autograd::apply(Exp::default(), &[&x]).remove(0);
    let first = Tensor::run_backward(&[y.sum(None::<Kind>)], &[&x], true, true).remove(0);
    let second = Tensor::run_backward(&[first.sum(None::<Kind>)], &[&x], false, false).remove(0);
    assert_eq!(numbers(&second), numbers(&x.exp()));
}

#[test]
fn several_inputs_and_outputs() {
    let (a, b) = (leaf(&[2.0, 3.0]), leaf(&[5.0, 1.0]));
    let outputs = autograd::apply(Pair, &[&a, &b]);
    assert!(outputs[0].requires_grad() && outputs[1].requires_grad());
    assert!(!outputs[2].requires_grad(), "an integer output has no gradient");
    (&outputs[0] + &outputs[1]).sum(None::<Kind>).backward();
    assert_eq!(numbers(&a.grad()), [6.0, 2.0]);
    assert_eq!(numbers(&b.grad()), [3.0, 4.0]);

    let c = leaf(&[2.0, 3.0]);
    let outputs = autograd::apply(Pair, &[&c, &b.detach()]);
    outputs[0].sum(None::<Kind>).backward();
    assert_eq!(numbers(&c.grad()), [5.0, 1.0], "the output that is not used has no gradient");
}

#[test]
fn no_graph_where_none_is_wanted() {
    let x = leaf(&[1.0]);
    let y = tch::no_grad(|| autograd::apply(Exp::default(), &[&x]).remove(0));
    assert!(!y.requires_grad());
    let y = autograd::apply(Exp::default(), &[&x.detach()]).remove(0);
    assert!(!y.requires_grad());
}

#[test]
fn a_kept_graph_runs_again_and_a_freed_one_is_an_error() {
    let x = leaf(&[1.0]);
    let y = autograd::apply(Exp::default(), &[&x]).remove(0).sum(None::<Kind>);
    for keep_graph in [true, false] {
        let gradient = Tensor::run_backward(&[&y], &[&x], keep_graph, false).remove(0);
        assert_eq!(numbers(&gradient), numbers(&x.exp()));
    }
    let error = Tensor::f_run_backward(&[&y], &[&x], false, false).unwrap_err();
    assert!(error.to_string().contains("backward through the graph a second time"), "{error}");
}

#[test]
fn a_saved_tensor_changed_in_place_is_an_error() {
    let x = leaf(&[1.0]);
    let mut y = autograd::apply(Exp::default(), &[&x]).remove(0);
    let loss = y.square().sum(None::<Kind>);
    tch::no_grad(|| {
        let _ = y.fill_(0.0);
    });
    let error = loss.f_backward().unwrap_err();
    assert!(error.to_string().contains("modified by an inplace operation"), "{error}");
}

#[test]
fn the_function_is_dropped_with_the_graph() {
    let count = Arc::new(AtomicUsize::new(0));
    for round in 1..=3 {
        let x = leaf(&[1.0]);
        let function = Exp { dropped: Some(count.clone()) };
        let y = autograd::apply(function, &[&x]).remove(0);
        assert_eq!(count.load(SeqCst), round - 1, "the graph holds it");
        y.sum(None::<Kind>).backward();
        drop(y);
        assert_eq!(count.load(SeqCst), round, "and nothing else");
    }
    let function = Exp { dropped: Some(count.clone()) };
    drop(autograd::apply(function, &[&Tensor::from(1.0)]));
    assert_eq!(count.load(SeqCst), 4, "without a graph too");
}

#[test]
fn gradients_with_weights_and_of_what_is_not_used() {
    let (x, unused) = (leaf(&[1.0, 2.0]), leaf(&[1.0]));
    let y = x.square();
    let weights = Tensor::from_slice(&[10.0, 100.0]);
    let grad_outputs = [&weights];
    let grad = Grad::default().grad_outputs(&grad_outputs).keep_graph(true);
    let gradients = grad.of(&[&y], &[&x, &unused]);
    assert_eq!(numbers(gradients[0].as_ref().unwrap()), [20.0, 400.0]);
    assert!(gradients[1].is_none());
    let first = Grad::default().create_graph(true).of(&[&y.sum(None::<Kind>)], &[&x]).remove(0);
    let second = Grad::default().of(&[&first.unwrap().sum(None::<Kind>)], &[&x]).remove(0);
    assert_eq!(numbers(&second.unwrap()), [2.0, 2.0]);
    assert!(Grad::default().f_of(&[&y], &[&x]).is_err(), "no scalar");
    assert!(Grad::default().f_of(&[&weights], &[&x]).is_err(), "no graph");
}

#[test]
fn the_gradient_of_an_output_may_depend_on_the_input() {
    let x = leaf(&[0.5, -1.0]);
    let square = autograd::apply(Exp::default(), &[&x]).remove(0).square().sum(None::<Kind>);
    let first = Grad::default().create_graph(true).of(&[&square], &[&x]).remove(0).unwrap();
    let second = Grad::default().of(&[&first.sum(None::<Kind>)], &[&x]).remove(0).unwrap();
    let error = (second - (&x * 2.0).exp() * 4.0).abs().max().double_value(&[]);
    assert!(error < 1e-12);
}

/// Fails in the ways a function can.
struct Failing(&'static str);

impl Failing {
    fn fail(&self, now: &str) -> Result<()> {
        match self.0.strip_prefix(now) {
            Some(" error") => {
                Err(LossError::Unsupported { loss: "Failing", message: "on purpose" })
            }
            Some(" panic") => panic!("{now} panics on purpose"),
            Some(" libtorch") => {
                Tensor::from(1.0).f_view([2, 2]).map(drop).map_err(LossError::from)
            }
            _ => Ok(()),
        }
    }
}

impl Function for Failing {
    fn forward(&mut self, _: &mut Context, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        self.fail("forward")?;
        Ok(vec![inputs[0].f_mul_scalar(1.0)?])
    }

    fn backward(&mut self, _: &Context, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        self.fail("backward")?;
        Ok(vec![])
    }
}

#[test]
fn errors_and_panics_come_back_as_errors() {
    let x = leaf(&[1.0]);
    let forward = |how| autograd::f_apply(Failing(how), &[&x]).unwrap_err();
    assert!(matches!(forward("forward error"), LossError::Unsupported { loss: "Failing", .. }));
    assert!(matches!(forward("forward libtorch"), LossError::Torch(_)));
    let panic = forward("forward panic").to_string();
    assert!(panic.contains("forward panics on purpose"), "{panic}");

    let backward = |how| {
        let y = autograd::apply(Failing(how), &[&x]).remove(0);
        y.sum(None::<Kind>).f_backward().unwrap_err().to_string()
    };
    assert!(backward("backward error").contains("Failing: on purpose"));
    assert!(backward("backward libtorch").contains("shape '[2, 2]' is invalid"));
    assert!(backward("backward panic").contains("backward panics on purpose"));
    assert!(backward("too few gradients").contains("incorrect number of gradients"));

    let caught =
        catch_unwind(AssertUnwindSafe(|| autograd::apply(Failing("forward error"), &[&x])));
    let text = *caught.unwrap_err().downcast::<String>().expect("a text");
    assert_eq!(text, "Failing: on purpose");
}
