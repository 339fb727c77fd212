//! The losses with a learned vector for each class, by name.

use super::{ArcFaceLoss, CenterLoss, CosFaceLoss, ProxyNcaLoss};
use crate::{
    Loss, LossError, Result,
    error::unwrap,
    loss::{Options, Reader, Registry},
};
use tch::Tensor;

/// The loss of that name, of those with a learned vector (C, D) for each class: `arc_face`, `cos_face`,
/// `proxy_nca`, `center`.
///
/// Names are spelled as in [`by_name`](crate::loss::by_name), which makes the losses that need no such
/// vectors.
///
/// # Errors
///
/// A name that is none of these; an option that the loss does not have, or of another type.
///
/// # Examples
///
/// ```
/// use tch::{Device, Tensor, nn::{Init, VarStore}};
/// use tch_losses::metric_learning::proxy_loss_by_name;
///
/// let vs = VarStore::new(Device::Cpu);
/// let vectors = vs.root().var("classes", &[10, 16], Init::Randn { mean: 0.0, stdev: 1.0 });
/// let loss = proxy_loss_by_name("ArcFace", &"margin=0.3".parse()?, &vectors);
/// let embeddings = Tensor::ones([2, 16], (tch::Kind::Float, Device::Cpu));
/// let value = loss.forward(&embeddings, &Tensor::from_slice(&[3i64, 7]));
/// assert!(value.double_value(&[]) > 0.0);
/// # Ok::<(), tch_losses::LossError>(())
/// ```
pub fn f_proxy_loss_by_name(
    name: &str,
    options: &Options,
    vectors: &Tensor,
) -> Result<Box<dyn Loss>> {
    let own = Registry::default().find(name).map(|entry| entry.name.clone());
    let reader = Reader::new(own.as_deref().unwrap_or(name), options);
    let loss: Box<dyn Loss> = match own.as_deref() {
        Some("arc_face") => Box::new(ArcFaceLoss::new(vectors).read(&reader)?),
        Some("cos_face") => Box::new(CosFaceLoss::new(vectors).read(&reader)?),
        Some("proxy_nca") => Box::new(ProxyNcaLoss::new(vectors).read(&reader)?),
        Some("center") => Box::new(CenterLoss::new(vectors).read(&reader)?),
        _ => {
            let near = ["arc_face", "cos_face", "proxy_nca", "center"].map(str::to_owned).into();
            return Err(LossError::Name { name: name.to_owned(), near });
        }
    };
    reader.finish(loss)
}

/// [`f_proxy_loss_by_name`], or a panic with its error.
#[track_caller]
pub fn proxy_loss_by_name(name: &str, options: &Options, vectors: &Tensor) -> Box<dyn Loss> {
    unwrap(f_proxy_loss_by_name(name, options, vectors))
}
