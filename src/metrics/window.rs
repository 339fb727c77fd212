//! Local means: a window slid over images.

use super::SsimPadding;
use crate::{
    Result,
    autograd::{self, Context, Function},
};
use std::borrow::Borrow;
use tch::Tensor;

/// A window that is the product of one along each side, and the same from both ends.
#[derive(Debug)]
pub(crate) struct Window {
    /// Along a side, summing to 1.
    pub(super) weights: Tensor,
    pub(super) padding: SsimPadding,
}

impl Window {
    /// The mean around each pixel of each map (N, C, H, W).
    ///
    /// As a node of its own: means are linear and need nothing for their gradient, for which libtorch's convolutions would keep the
    /// maps.
    pub(crate) fn means<const K: usize>(&self, maps: [&Tensor; K]) -> Result<[Tensor; K]> {
        let means = if autograd::is_available() {
            let window = Window { weights: self.weights.shallow_clone(), padding: self.padding };
            autograd::f_apply(Means { window, size: maps[0].size() }, &maps)?
        } else {
            self.padded_means(&maps)?
        };
        Ok(std::array::from_fn(|i| means[i].shallow_clone()))
    }

    fn radius(&self) -> i64 {
        self.length() / 2
    }

    fn length(&self) -> i64 {
        self.weights.size()[0]
    }

    fn border(&self) -> i64 {
        if self.padding == SsimPadding::Zeros { self.radius() } else { 0 }
    }

    fn reflection(&self) -> [i64; 4] {
        [self.radius(); 4]
    }

    fn padded_means<T: Borrow<Tensor>>(&self, maps: &[T]) -> Result<Vec<Tensor>> {
        let mut together = Tensor::f_cat(maps, 0)?;
        if self.padding == SsimPadding::Reflect {
            together = together.f_reflection_pad2d(self.reflection())?;
        }
        Ok(self.slid(together, self.border())?.f_chunk(maps.len() as i64, 0)?)
    }

    /// The gradients of maps of that size by those of their means: the window slid to where it reaches each pixel, reflected back.
    fn gradients(&self, of_means: &[&Tensor], size: &[i64]) -> Result<Vec<Tensor>> {
        let border = self.length() - 1 - self.border();
        let mut together = self.slid(Tensor::f_cat(of_means, 0)?, border)?;
        let count = of_means.len() as i64;
        if self.padding == SsimPadding::Reflect {
            // Only the size of the maps is looked at.
            let maps = Tensor::f_zeros([1; 4], (together.f_kind()?, together.device()))?
                .f_expand([count * size[0], size[1], size[2], size[3]], false)?;
            together = maps.f_reflection_pad2d_backward(&together, self.reflection())?;
        }
        Ok(together.f_chunk(count, 0)?)
    }

    /// The window slid over planes with so many zeros around them.
    fn slid(&self, maps: Tensor, border: i64) -> Result<Tensor> {
        let (images, channels, height, width) = maps.size4()?;
        let planes = images * channels;
        // All planes as the channels of one image: depthwise convolutions take several times as long for a batch of images of few
        // channels.
        let together = maps.f_reshape([1, planes, height, width])?;
        drop(maps);
        let convolved = |maps: &Tensor, window: &Tensor, border: [i64; 2]| {
            let (height, width) = window.size2()?;
            let window = window.f_expand([planes, 1, height, width], false)?;
            maps.f_conv2d(&window, None::<&Tensor>, 1, border, 1, planes)
        };
        let (across, down) = (self.weights.f_unsqueeze(0)?, self.weights.f_unsqueeze(1)?);
        let means = match self.length() {
            // One pass over a small window is cheaper than two.
            ..=5 => convolved(&together, &down.f_mul(&across)?, [border, border])?,
            _ => {
                let rows = convolved(&together, &across, [0, border])?;
                drop(together);
                convolved(&rows, &down, [border, 0])?
            }
        };
        let (_, _, height, width) = means.size4()?;
        Ok(means.f_view([images, channels, height, width])?)
    }
}

struct Means {
    window: Window,
    /// Of a map.
    size: Vec<i64>,
}

impl Function for Means {
    fn forward(&mut self, _: &mut Context, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        self.window.padded_means(inputs)
    }

    fn backward(
        &mut self,
        context: &Context,
        gradients: &[Option<Tensor>],
    ) -> Result<Vec<Option<Tensor>>> {
        let of_means = gradients
            .iter()
            .enumerate()
            .map(|(map, of_mean)| of_mean.as_ref().filter(|_| context.needs_gradient(map)));
        let of_means: Vec<Option<&Tensor>> = of_means.collect();
        let wanted: Vec<&Tensor> = of_means.iter().copied().flatten().collect();
        if wanted.is_empty() {
            return Ok(of_means.iter().map(|_| None).collect());
        }
        let mut found = self.window.gradients(&wanted, &self.size)?.into_iter();
        Ok(of_means.iter().map(|of_mean| of_mean.and_then(|_| found.next())).collect())
    }
}
