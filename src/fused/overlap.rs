//! The sums that overlap losses are made of, without a map of probabilities or a one-hot target: forward reads the logits and the
//! target once, backward reads them again and writes the gradient.
#![allow(unsafe_code)] // threads write their own pixels of one gradient

use super::{
    data::{Computed, Numbers, SHORTEST, Shared, TILE, near_tile},
    parallel,
    real::sum,
    simd::{self, Kernel, Madd},
};
use crate::{
    LossError, Result,
    autograd::{self, Context, Function, Grad},
};
use std::ops::Range;
use tch::{Kind, Tensor};

/// What makes probabilities of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    None,
    Softmax,
    Sigmoid,
}

/// The sums of an input (N, C, P) with its target, over the pixels.
#[derive(Debug)]
pub(crate) struct OverlapSums<'a> {
    pub(crate) images: usize,
    pub(crate) classes: usize,
    pub(crate) pixels: usize,
    pub(crate) activation: Activation,
    /// Whether the target has a number for each class, not the pixel's class.
    pub(crate) dense: bool,
    /// How much each pixel counts, (N, P).
    pub(crate) mask: Option<&'a Tensor>,
    /// Classes that count for nothing.
    pub(crate) ignored: &'a [i64],
    /// `predicted = Σ m p²` and `actual = Σ m y²` in place of the sums of p and y.
    pub(crate) squared: bool,
}

/// `tp = Σ m p y`, `predicted = Σ m p`, `actual = Σ m y` of each image and class, (N, C); `valid = Σ m`, (N, 1).
pub(crate) struct Sums {
    pub(crate) tp: Tensor,
    pub(crate) predicted: Tensor,
    pub(crate) actual: Tensor,
    pub(crate) valid: Tensor,
}

impl OverlapSums<'_> {
    /// The sums, or `None` where they have to be composed, as where a class is out of range.
    ///
    /// `composed` is `[tp, predicted]` of libtorch's operations.
    pub(crate) fn sums(
        &self,
        input: &Tensor,
        target: &Tensor,
        composed: impl Fn(&Tensor) -> Result<[Tensor; 2]> + Send + 'static,
    ) -> Result<Option<Sums>> {
        if !super::applies(input, [Some(target), self.mask])
            || self.pixels < SHORTEST
            || (self.dense && !self.ignored.is_empty())
        {
            return Ok(None);
        }
        let kept = KeptOverlap {
            target: target.shallow_clone(),
            mask: self.mask.map(Tensor::shallow_clone),
            ignored: self.ignored.to_vec(),
            shape: [self.images, self.classes, self.pixels],
            activation: self.activation,
            dense: self.dense,
            squared: self.squared,
        };
        let Some(data) = kept.data(input) else { return Ok(None) };
        let found = match input.f_kind()? {
            Kind::Double => data.sums::<f64>(),
            _ => data.sums::<f32>(),
        };
        let Some(found) = found else { return Ok(None) };
        let kind = if input.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
        let tensor = |numbers: Vec<f64>, columns: usize| -> Result<Tensor> {
            let shape = [self.images as i64, columns as i64];
            Ok(Tensor::from_slice(&numbers).f_view(shape)?.f_to_kind(kind)?)
        };
        let (mut tp, mut predicted) =
            (tensor(found.tp, self.classes)?, tensor(found.predicted, self.classes)?);
        super::count_one();
        if input.requires_grad() && autograd::is_recording() {
            let node = Node { kept, outputs: vec![tp, predicted], composed: Box::new(composed) };
            let mut outputs = autograd::f_apply(node, &[input])?.into_iter();
            let (Some(first), Some(second)) = (outputs.next(), outputs.next()) else {
                unreachable!("the node has two outputs");
            };
            (tp, predicted) = (first, second);
        }
        let actual = tensor(found.actual, self.classes)?;
        Ok(Some(Sums { tp, predicted, actual, valid: tensor(found.valid, 1)? }))
    }
}

type Composed = Box<dyn Fn(&Tensor) -> Result<[Tensor; 2]> + Send>;

struct Node {
    kept: KeptOverlap,
    outputs: Vec<Tensor>,
    composed: Composed,
}

impl Function for Node {
    fn forward(&mut self, context: &mut Context, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        // The target is read again: kept with its version, so that a change in between is an error.
        let KeptOverlap { target, mask, .. } = &self.kept;
        let all: Vec<_> = [&inputs[0], target].into_iter().chain(mask).collect();
        context.save_for_backward(&all)?;
        Ok(std::mem::take(&mut self.outputs))
    }

    fn backward(
        &mut self,
        context: &Context,
        gradients: &[Option<Tensor>],
    ) -> Result<Vec<Option<Tensor>>> {
        let input = context.saved()?.remove(0);
        if context.creates_graph() {
            let outputs = (self.composed)(&input)?;
            let (outputs, weights): (Vec<_>, Vec<_>) = outputs
                .iter()
                .zip(gradients)
                .filter_map(|(output, gradient)| Some((output, gradient.as_ref()?)))
                .unzip();
            let grad = Grad::default().create_graph(true).grad_outputs(&weights);
            return grad.f_of(&outputs, &[&input]);
        }
        const CHANGED: LossError = LossError::Graph {
            loss: "fused loss",
            message: "the target was changed before the backward",
        };
        let data = self.kept.data(&input).ok_or(CHANGED)?;
        let numbers = |gradient: &Option<Tensor>| -> Result<Option<Vec<f64>>> {
            let Some(gradient) = gradient else { return Ok(None) };
            let flat = gradient.f_to_kind(Kind::Double)?.f_reshape([-1])?;
            Ok(Some(Vec::try_from(flat)?))
        };
        let (of_tp, of_predicted) = (numbers(&gradients[0])?, numbers(&gradients[1])?);
        let mut gradient = input.f_empty_like()?;
        let to = Shared::of(&mut gradient);
        let done = match input.f_kind()? {
            Kind::Double => data.gradient::<f64>(of_tp, of_predicted, to),
            _ => data.gradient::<f32>(of_tp, of_predicted, to),
        };
        done.ok_or(CHANGED)?;
        Ok(vec![Some(gradient)])
    }
}

/// What the backward needs besides the input.
struct KeptOverlap {
    target: Tensor,
    mask: Option<Tensor>,
    ignored: Vec<i64>,
    shape: [usize; 3],
    activation: Activation,
    dense: bool,
    squared: bool,
}

impl KeptOverlap {
    fn data<'a>(&'a self, input: &'a Tensor) -> Option<Data<'a>> {
        let [images, classes, pixels] = self.shape;
        let mask = match &self.mask {
            Some(mask) => Some(Numbers::of(mask)?),
            None => None,
        };
        let (input, target) = (Numbers::of(input)?, Numbers::of(&self.target)?);
        let of_pixels = images * pixels;
        let target_length = if self.dense { of_pixels * classes } else { of_pixels };
        let fits = input.len() == of_pixels * classes
            && target.len() == target_length
            && mask.is_none_or(|mask| mask.len() == of_pixels);
        fits.then_some(Data {
            input,
            target,
            mask,
            ignored: &self.ignored,
            images,
            classes,
            pixels,
            activation: self.activation,
            dense: self.dense,
            squared: self.squared,
        })
    }
}

#[derive(Clone, Copy)]
struct Data<'a> {
    input: Numbers<'a>,
    target: Numbers<'a>,
    mask: Option<Numbers<'a>>,
    ignored: &'a [i64],
    images: usize,
    classes: usize,
    pixels: usize,
    activation: Activation,
    dense: bool,
    squared: bool,
}

/// The sums of one image or of a part of it; of all images, one after the other.
struct Found {
    tp: Vec<f64>,
    predicted: Vec<f64>,
    actual: Vec<f64>,
    valid: Vec<f64>,
}

impl Found {
    fn zeros(images: usize, classes: usize) -> Self {
        let zeros = || vec![0.0; images * classes];
        Found { tp: zeros(), predicted: zeros(), actual: zeros(), valid: vec![0.0; images] }
    }
}

/// What a thread works in.
struct Scratch<T> {
    /// Probabilities, rows of classes.
    scores: Vec<T>,
    class: [i32; TILE],
    counts: [T; TILE],
    target: [T; TILE],
    first: [T; TILE],
    second: [T; TILE],
}

/// The pixels of an image that are worked on at once, and how often before another thread may take over.
struct Cut {
    length: usize,
    piece: usize,
    pieces_of_image: usize,
}

impl Data<'_> {
    fn cut(&self) -> Cut {
        let (length, tiles) = near_tile(self.classes, self.pixels);
        let piece = length * tiles;
        Cut { length, piece, pieces_of_image: self.pixels.div_ceil(piece) }
    }

    /// Runs `work` on every tile, a piece in order on one thread; the results of pieces in order.
    fn tiles<T: Computed, R: Send>(
        &self,
        start: impl Fn() -> R + Sync,
        work: impl Fn(&mut Scratch<T>, &mut R, usize, Range<usize>) + Sync,
    ) -> Vec<R> {
        let Cut { length, piece, pieces_of_image } = self.cut();
        let zero = [T::ZERO; TILE];
        let scratch = || Scratch {
            scores: vec![T::ZERO; length * self.classes],
            class: [0; TILE],
            counts: zero,
            target: zero,
            first: zero,
            second: zero,
        };
        let units = self.images * self.classes * self.pixels;
        parallel::map_with(0..self.images * pieces_of_image, units, scratch, |scratch, item| {
            let (image, first) = (item / pieces_of_image, item % pieces_of_image * piece);
            let mut result = start();
            let end = (first + piece).min(self.pixels);
            for from in (first..end).step_by(length) {
                work(scratch, &mut result, image, from..(from + length).min(end));
            }
            result
        })
    }

    /// `None` where a class is out of range.
    fn sums<T: Computed>(self) -> Option<Found> {
        let pieces = self.tiles::<T, _>(
            || (Found::zeros(1, self.classes), true),
            |scratch, (found, whole), image, range| {
                *whole &= simd::run(SumTile { data: self, image, range, scratch, found });
            },
        );
        let mut all = Found::zeros(self.images, self.classes);
        let pieces_of_image = self.cut().pieces_of_image;
        for (item, (piece, whole)) in pieces.into_iter().enumerate() {
            if !whole {
                return None;
            }
            let image = item / pieces_of_image;
            let classes = image * self.classes..(image + 1) * self.classes;
            for (all, piece) in [
                (&mut all.tp, &piece.tp),
                (&mut all.predicted, &piece.predicted),
                (&mut all.actual, &piece.actual),
            ] {
                all[classes.clone()].iter_mut().zip(piece).for_each(|(sum, part)| *sum += part);
            }
            all.valid[image] += piece.valid[0];
        }
        Some(all)
    }

    /// Writes the gradient for that of `tp` and `predicted`; `None` where a class is out of range.
    fn gradient<T: Computed>(
        self,
        of_tp: Option<Vec<f64>>,
        of_predicted: Option<Vec<f64>>,
        to: Shared<'_>,
    ) -> Option<()> {
        let convert = |numbers: Option<Vec<f64>>| -> Vec<T> {
            match numbers {
                Some(numbers) => numbers.into_iter().map(T::of).collect(),
                None => vec![T::ZERO; self.images * self.classes],
            }
        };
        let (of_tp, of_predicted) = (convert(of_tp), convert(of_predicted));
        let pieces = self.tiles::<T, _>(
            || true,
            |scratch, whole, image, range| {
                let (tp, predicted) = (&of_tp[..], &of_predicted[..]);
                *whole &= simd::run(GradientTile {
                    data: self,
                    image,
                    range,
                    scratch,
                    of_tp: &tp[image * self.classes..(image + 1) * self.classes],
                    of_predicted: &predicted[image * self.classes..(image + 1) * self.classes],
                    to,
                });
            },
        );
        pieces.into_iter().all(|whole| whole).then_some(())
    }

    /// Where a class of pixels starts in memory.
    #[inline(always)]
    fn start_of(&self, image: usize, class: usize, pixel: usize) -> usize {
        (image * self.classes + class) * self.pixels + pixel
    }

    /// The classes of a tile and how much its pixels count; false where a class is out of range.
    #[inline(always)]
    fn read_target<T: Computed>(
        &self,
        image: usize,
        range: &Range<usize>,
        scratch: &mut Scratch<T>,
    ) -> bool {
        let length = range.len();
        let first = image * self.pixels + range.start;
        let counts = &mut scratch.counts[..length];
        match &self.mask {
            Some(mask) => {
                counts.copy_from_slice(mask.read(first..first + length, &mut scratch.first));
            }
            None => counts.fill(T::ONE),
        }
        if self.dense {
            return true;
        }
        let class = &mut scratch.class;
        if self.target.classes(first..first + length, self.classes, self.ignored, class).is_none() {
            return false;
        }
        let class = &class[..length];
        for i in 0..length {
            counts[i] = if class[i] < 0 { T::ZERO } else { counts[i] };
        }
        true
    }

    /// The target of a class: 1 and 0, or what a dense one says.
    #[inline(always)]
    fn target_of<'s, T: Computed>(
        &'s self,
        image: usize,
        class: usize,
        range: &Range<usize>,
        classes: &[i32; TILE],
        buffer: &'s mut [T; TILE],
    ) -> &'s [T] {
        let length = range.len();
        if self.dense {
            let start = self.start_of(image, class, range.start);
            return self.target.read(start..start + length, buffer);
        }
        let (buffer, classes) = (&mut buffer[..length], &classes[..length]);
        for i in 0..length {
            buffer[i] = if classes[i] == class as i32 { T::ONE } else { T::ZERO };
        }
        buffer
    }

    /// Probabilities of a tile.
    #[inline(always)]
    fn probabilities<T: Computed, M: Madd>(
        &self,
        image: usize,
        range: &Range<usize>,
        scratch: &mut Scratch<T>,
    ) {
        let length = range.len();
        let Scratch { scores, first, second, target: buffer, .. } = scratch;
        let (largest, total) = (&mut first[..length], &mut second[..length]);
        for c in 0..self.classes {
            let start = self.start_of(image, c, range.start);
            let x = self.input.read(start..start + length, buffer);
            let row = &mut scores[c * length..(c + 1) * length];
            row.copy_from_slice(x);
            match self.activation {
                Activation::None => {}
                Activation::Sigmoid => {
                    for x in row.iter_mut() {
                        let e = (-x.abs()).exp::<M>();
                        let larger = T::ONE / (T::ONE + e);
                        *x = if *x < T::ZERO { e * larger } else { larger };
                    }
                }
                Activation::Softmax if c == 0 => largest.copy_from_slice(row),
                Activation::Softmax => {
                    for i in 0..length {
                        largest[i] = row[i].max(largest[i]);
                    }
                }
            }
        }
        if self.activation != Activation::Softmax {
            return;
        }
        total.fill(T::ZERO);
        for row in scores[..self.classes * length].chunks_exact_mut(length) {
            for i in 0..length {
                let e = (row[i] - largest[i]).exp::<M>();
                row[i] = e;
                total[i] += e;
            }
        }
        for total in total.iter_mut() {
            *total = T::ONE / *total;
        }
        for row in scores[..self.classes * length].chunks_exact_mut(length) {
            for i in 0..length {
                row[i] *= total[i];
            }
        }
    }
}

struct SumTile<'a, 's, T> {
    data: Data<'a>,
    image: usize,
    range: Range<usize>,
    scratch: &'s mut Scratch<T>,
    found: &'s mut Found,
}

impl<T: Computed> Kernel for SumTile<'_, '_, T> {
    type Output = bool;

    #[inline(always)]
    fn run<M: Madd>(self) -> bool {
        let SumTile { data, image, range, scratch, found } = self;
        let length = range.len();
        if !data.read_target(image, &range, scratch) {
            return false;
        }
        data.probabilities::<T, M>(image, &range, scratch);
        let Scratch { scores, class, counts, target: buffer, first, second } = scratch;
        let counts = &counts[..length];
        found.valid[0] += sum(counts);
        for c in 0..data.classes {
            let p = &mut scores[c * length..(c + 1) * length];
            let y = &data.target_of(image, c, &range, class, buffer)[..length];
            let (hit, actual) = (&mut first[..length], &mut second[..length]);
            if data.squared {
                for i in 0..length {
                    let weighted = p[i] * counts[i];
                    hit[i] = weighted * y[i];
                    actual[i] = counts[i] * y[i] * y[i];
                    p[i] = weighted * p[i];
                }
            } else {
                for i in 0..length {
                    let weighted = p[i] * counts[i];
                    hit[i] = weighted * y[i];
                    actual[i] = counts[i] * y[i];
                    p[i] = weighted;
                }
            }
            found.tp[c] += sum(hit);
            found.predicted[c] += sum(p);
            found.actual[c] += sum(actual);
        }
        true
    }
}

struct GradientTile<'a, 's, T> {
    data: Data<'a>,
    image: usize,
    range: Range<usize>,
    scratch: &'s mut Scratch<T>,
    of_tp: &'s [T],
    of_predicted: &'s [T],
    to: Shared<'a>,
}

impl<T: Computed> Kernel for GradientTile<'_, '_, T> {
    type Output = bool;

    #[inline(always)]
    fn run<M: Madd>(self) -> bool {
        let GradientTile { data, image, range, scratch, of_tp, of_predicted, to } = self;
        let length = range.len();
        let two = T::of(2.0);
        if !data.read_target(image, &range, scratch) {
            return false;
        }
        data.probabilities::<T, M>(image, &range, scratch);
        let Scratch { scores, class, counts, target: buffer, first, second } = scratch;
        let counts = &counts[..length];
        // The gradient of p[c] but for the target: a number, and another times p[c].
        let even = |c: usize| match data.squared {
            true => (T::ZERO, two * of_predicted[c]),
            false => (of_predicted[c], T::ZERO),
        };
        // Σ_c p[c] times the gradient of p[c], for softmax.
        let inner = &mut first[..length];
        inner.fill(T::ZERO);
        if data.activation == Activation::Softmax {
            for c in 0..data.classes {
                let p = &scores[c * length..(c + 1) * length];
                let y = &data.target_of(image, c, &range, class, buffer)[..length];
                let (tp, (level, steep)) = (of_tp[c], even(c));
                for i in 0..length {
                    inner[i] += p[i] * (tp * y[i] + level + steep * p[i]);
                }
            }
        }
        for c in 0..data.classes {
            let p = &scores[c * length..(c + 1) * length];
            let y = &data.target_of(image, c, &range, class, buffer)[..length];
            let (tp, (level, steep)) = (of_tp[c], even(c));
            let out = &mut second[..length];
            for i in 0..length {
                out[i] = counts[i] * (tp * y[i] + level + steep * p[i] - inner[i]);
            }
            match data.activation {
                Activation::None => {}
                Activation::Softmax => {
                    for i in 0..length {
                        out[i] *= p[i];
                    }
                }
                Activation::Sigmoid => {
                    for i in 0..length {
                        out[i] *= p[i] * (T::ONE - p[i]);
                    }
                }
            }
            // SAFETY: these pixels are this tile's.
            unsafe { to.write(data.start_of(image, c, range.start), out) };
        }
        true
    }
}
