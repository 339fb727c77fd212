//! The numbers of tensors as slices, and the tiles that kernels read and write.
#![allow(unsafe_code)] // slices of tensors' memory

use super::{
    parallel,
    real::{Real, sum},
};
use half::{bf16, f16, slice::HalfFloatSliceExt};
use std::{ffi::c_void, marker::PhantomData, ops::Range, slice};
use tch::{Device, Kind, Tensor};

/// How many elements a kernel works on at once: a few such tiles stay in the first cache.
pub(super) const TILE: usize = 1024;

/// How many elements are one piece of work.
pub(super) const CHUNK: usize = 16 * TILE;

/// Numbers of all rows of a tile of rows: they are read and written several times, so they are to stay in a near cache.
const NEAR: usize = 16 * 1024;

/// A tile of `rows` rows is at least so long: the kernels run along them.
pub(super) const SHORTEST: usize = 16;

/// How long a tile of `rows` rows is, `available` at most, and how many such tiles make a piece of work that is worth its turn.
pub(super) fn near_tile(rows: usize, available: usize) -> (usize, usize) {
    let length = (NEAR / rows).clamp(SHORTEST, TILE).min(available);
    (length, (NEAR / (length * rows)).max(1) * 2)
}

/// Parts of a range of `length` elements, the last one shorter.
pub(super) fn tiles(range: Range<usize>, length: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(length).map(move |start| start..(start + length).min(end))
}

/// Ranges of `length` elements, the last one shorter.
pub(super) fn ranges(
    elements: usize,
    length: usize,
) -> impl ExactSizeIterator<Item = Range<usize>> + Send {
    let count = elements.div_ceil(length);
    (0..count).map(move |i| i * length..((i + 1) * length).min(elements))
}

/// [`ranges`], and the part of the gradient that belongs to each, if there is one.
pub(super) fn pieces<'a>(
    elements: usize,
    length: usize,
    gradient: Option<&'a mut Tensor>,
) -> impl ExactSizeIterator<Item = (Range<usize>, Option<Part<'a>>)> + Send {
    let mut parts = gradient.and_then(Part::of).map(|part| part.split(length).into_iter());
    ranges(elements, length).map(move |range| (range, parts.as_mut().and_then(Iterator::next)))
}

/// Whether a tensor is dense and contiguous on the CPU.
pub(super) fn is_plain(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu
        && !tensor.is_sparse()
        && !tensor.is_mkldnn()
        && tensor.is_contiguous()
        && tensor.numel() > 0
}

/// The numbers of a plain tensor.
#[derive(Clone, Copy)]
pub(super) enum Numbers<'a> {
    Float(&'a [f32]),
    Double(&'a [f64]),
    Half(&'a [f16]),
    BFloat16(&'a [bf16]),
    Int64(&'a [i64]),
    Int(&'a [i32]),
    Int16(&'a [i16]),
    Int8(&'a [i8]),
    /// `Uint8`, and `Bool` as 0 and 1.
    Uint8(&'a [u8]),
}

impl<'a> Numbers<'a> {
    /// `None` for a tensor that is not plain or of a kind that losses do not take.
    pub(super) fn of(tensor: &'a Tensor) -> Option<Self> {
        if !is_plain(tensor) {
            return None;
        }
        // SAFETY: contiguous numbers of this kind, which live as long as the tensor is borrowed.
        unsafe {
            Some(match tensor.f_kind().ok()? {
                Kind::Float => Numbers::Float(numbers(tensor)),
                Kind::Double => Numbers::Double(numbers(tensor)),
                Kind::Half => Numbers::Half(numbers(tensor)),
                Kind::BFloat16 => Numbers::BFloat16(numbers(tensor)),
                Kind::Int64 => Numbers::Int64(numbers(tensor)),
                Kind::Int => Numbers::Int(numbers(tensor)),
                Kind::Int16 => Numbers::Int16(numbers(tensor)),
                Kind::Int8 => Numbers::Int8(numbers(tensor)),
                Kind::Uint8 | Kind::Bool => Numbers::Uint8(numbers(tensor)),
                _ => return None,
            })
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Numbers::Float(all) => all.len(),
            Numbers::Double(all) => all.len(),
            Numbers::Half(all) => all.len(),
            Numbers::BFloat16(all) => all.len(),
            Numbers::Int64(all) => all.len(),
            Numbers::Int(all) => all.len(),
            Numbers::Int16(all) => all.len(),
            Numbers::Int8(all) => all.len(),
            Numbers::Uint8(all) => all.len(),
        }
    }

    /// Part of the numbers as `T`: where they are, or converted into the buffer.
    #[inline(always)]
    pub(super) fn read<'b, T: Computed>(&self, range: Range<usize>, buffer: &'b mut [T]) -> &'b [T]
    where
        'a: 'b,
    {
        if let Some(all) = T::of_numbers(*self) {
            return &all[range];
        }
        let buffer = &mut buffer[..range.len()];
        macro_rules! convert {
            ($all:ident, $to_f64:expr) => {
                for (to, &from) in buffer.iter_mut().zip(&$all[range]) {
                    *to = T::of($to_f64(from));
                }
            };
        }
        match *self {
            Numbers::Float(all) => convert!(all, f64::from),
            Numbers::Double(all) => convert!(all, |x| x),
            Numbers::Half(all) => T::of_half(&all[range], buffer),
            Numbers::BFloat16(all) => T::of_bfloat16(&all[range], buffer),
            Numbers::Int64(all) => convert!(all, |x| x as f64),
            Numbers::Int(all) => convert!(all, f64::from),
            Numbers::Int16(all) => convert!(all, f64::from),
            Numbers::Int8(all) => convert!(all, f64::from),
            Numbers::Uint8(all) => convert!(all, f64::from),
        }
        buffer
    }

    /// Part of the numbers as `T`, into `to`.
    #[inline(always)]
    pub(super) fn copy<T: Computed>(&self, range: Range<usize>, to: &mut [T]) {
        match T::of_numbers(*self) {
            Some(all) => to.copy_from_slice(&all[range]),
            None => {
                self.read(range, to);
            }
        }
    }
}

impl Numbers<'_> {
    /// Class indices of a range, with `ignored` and nothing else outside [0, classes) as -1; `None` if there is something else.
    pub(super) fn classes<'b>(
        &self,
        range: Range<usize>,
        classes: usize,
        ignored: &[i64],
        buffer: &'b mut [i32],
    ) -> Option<&'b [i32]> {
        let buffer = &mut buffer[..range.len()];
        let mut strange = false;
        macro_rules! convert {
            ($all:ident) => {
                for (to, &from) in buffer.iter_mut().zip(&$all[range]) {
                    let class = i64::from(from);
                    let counts = !ignored.contains(&class);
                    strange |= counts && !(0..classes as i64).contains(&class);
                    *to = if counts { class as i32 } else { -1 };
                }
            };
        }
        match *self {
            Numbers::Int64(all) => convert!(all),
            Numbers::Int(all) => convert!(all),
            Numbers::Int16(all) => convert!(all),
            Numbers::Int8(all) => convert!(all),
            Numbers::Uint8(all) => convert!(all),
            _ => return None,
        }
        (!strange).then_some(buffer)
    }
}

/// # Safety
///
/// The tensor is plain and its elements are `T`s.
unsafe fn numbers<T>(tensor: &Tensor) -> &[T] {
    // SAFETY: the caller's; a plain tensor is not empty, so the pointer is not null.
    unsafe { slice::from_raw_parts(tensor.data_ptr().cast::<T>(), tensor.numel()) }
}

/// A number that kernels compute in, and how it comes from and goes to memory.
pub(super) trait Computed: Real {
    fn of_numbers(numbers: Numbers<'_>) -> Option<&[Self]>;
    fn of_part<'a>(part: &'a mut Part<'_>) -> Option<&'a mut [Self]>;
    fn of_half(from: &[f16], to: &mut [Self]);
    fn of_bfloat16(from: &[bf16], to: &mut [Self]);
    fn to_half(from: &[Self], to: &mut [f16]);
    fn to_bfloat16(from: &[Self], to: &mut [bf16]);
}

macro_rules! computed {
    ($real:ty, $variant:ident, $from:ident, $to:ident) => {
        impl Computed for $real {
            #[inline(always)]
            fn of_numbers(numbers: Numbers<'_>) -> Option<&[Self]> {
                match numbers {
                    Numbers::$variant(all) => Some(all),
                    _ => None,
                }
            }
            #[inline(always)]
            fn of_part<'a>(part: &'a mut Part<'_>) -> Option<&'a mut [Self]> {
                match part {
                    Part::$variant(all) => Some(all),
                    _ => None,
                }
            }
            fn of_half(from: &[f16], to: &mut [Self]) {
                from.$to(to);
            }
            fn of_bfloat16(from: &[bf16], to: &mut [Self]) {
                from.$to(to);
            }
            fn to_half(from: &[Self], to: &mut [f16]) {
                to.$from(from);
            }
            fn to_bfloat16(from: &[Self], to: &mut [bf16]) {
                to.$from(from);
            }
        }
    };
}
computed!(f32, Float, convert_from_f32_slice, convert_to_f32_slice);
computed!(f64, Double, convert_from_f64_slice, convert_to_f64_slice);

/// A stretch of a gradient to be written.
pub(super) enum Part<'a> {
    Float(&'a mut [f32]),
    Double(&'a mut [f64]),
    Half(&'a mut [f16]),
    BFloat16(&'a mut [bf16]),
}

impl<'a> Part<'a> {
    /// The memory of a new gradient. `None` for a kind that has none.
    pub(super) fn of(gradient: &'a mut Tensor) -> Option<Self> {
        let kind = gradient.f_kind().ok()?;
        // SAFETY: contiguous numbers of this kind, borrowed as long as the tensor is, which is nobody else's yet.
        unsafe {
            Some(match kind {
                Kind::Float => Part::Float(numbers_mut(gradient)),
                Kind::Double => Part::Double(numbers_mut(gradient)),
                Kind::Half => Part::Half(numbers_mut(gradient)),
                Kind::BFloat16 => Part::BFloat16(numbers_mut(gradient)),
                _ => return None,
            })
        }
    }

    /// Stretches of `length` elements, the last one shorter.
    pub(super) fn split(self, length: usize) -> Vec<Part<'a>> {
        match self {
            Part::Float(all) => all.chunks_mut(length).map(Part::Float).collect(),
            Part::Double(all) => all.chunks_mut(length).map(Part::Double).collect(),
            Part::Half(all) => all.chunks_mut(length).map(Part::Half).collect(),
            Part::BFloat16(all) => all.chunks_mut(length).map(Part::BFloat16).collect(),
        }
    }

    /// Where to write a tile: in place, or in the buffer for [`Part::wrote`] to convert.
    #[inline(always)]
    pub(super) fn tile<'b, T: Computed>(
        &'b mut self,
        range: Range<usize>,
        buffer: &'b mut [T],
    ) -> &'b mut [T] {
        match T::of_part(self) {
            Some(all) => &mut all[range],
            None => &mut buffer[..range.len()],
        }
    }

    /// Takes a tile over from the buffer, if it was written there.
    #[inline(always)]
    pub(super) fn wrote<T: Computed>(&mut self, range: Range<usize>, buffer: &[T]) {
        match self {
            Part::Half(all) => T::to_half(&buffer[..range.len()], &mut all[range]),
            Part::BFloat16(all) => T::to_bfloat16(&buffer[..range.len()], &mut all[range]),
            Part::Float(_) | Part::Double(_) => {}
        }
    }
}

/// # Safety
///
/// The tensor is plain, its elements are `T`s, and nothing else refers to its memory.
unsafe fn numbers_mut<T>(tensor: &mut Tensor) -> &mut [T] {
    // SAFETY: the caller's.
    unsafe { slice::from_raw_parts_mut(tensor.data_ptr().cast::<T>(), tensor.numel()) }
}

/// A gradient that several threads write, each its own rows of it.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    start: *mut c_void,
    kind: Kind,
    length: usize,
    gradient: PhantomData<&'a mut Tensor>,
}

// SAFETY: `write` asks for ranges that no two threads share.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// The memory of a new, plain gradient.
    pub(super) fn of(gradient: &'a mut Tensor) -> Self {
        let (kind, length) = (gradient.kind(), gradient.numel());
        Shared { start: gradient.data_ptr(), kind, length, gradient: PhantomData }
    }

    /// Writes numbers from `start` on.
    ///
    /// # Safety
    ///
    /// No other thread writes or reads any of them meanwhile.
    #[inline(always)]
    pub(super) unsafe fn write<T: Computed>(&self, start: usize, numbers: &[T]) {
        assert!(start + numbers.len() <= self.length);
        macro_rules! part {
            ($number:ty) => {
                // SAFETY: within the gradient, and the caller's promise.
                unsafe {
                    slice::from_raw_parts_mut(
                        self.start.cast::<$number>().add(start),
                        numbers.len(),
                    )
                }
            };
        }
        match self.kind {
            Kind::Half => T::to_half(numbers, part!(f16)),
            Kind::BFloat16 => T::to_bfloat16(numbers, part!(bf16)),
            _ => part!(T).copy_from_slice(numbers),
        }
    }
}

/// Numbers that broadcast along one dimension block: element `i` of the whole has number `i / inner % length`.
#[derive(Clone, Copy)]
pub(super) struct Spread<'a> {
    numbers: Numbers<'a>,
    inner: usize,
}

impl<'a> Spread<'a> {
    /// How `tensor` spreads over `shape`; `None` where its dimensions that are not 1 have others between them.
    pub(super) fn of(tensor: &'a Tensor, shape: &[i64]) -> Option<Self> {
        let numbers = Numbers::of(tensor)?;
        let own = tensor.size();
        let missing = shape.len().checked_sub(own.len())?;
        let (mut inner, mut block, mut closed) = (1i64, 1i64, false);
        for (&size, &full) in own.iter().zip(&shape[missing..]).rev() {
            match (full == 1, size == full) {
                (true, true) => {}
                (_, true) if closed => return None,
                (_, true) => block *= full,
                _ if size != 1 => return None,
                _ if block > 1 => closed = true,
                _ => inner *= full,
            }
        }
        Some(Spread { numbers, inner: usize::try_from(inner).ok()? })
    }

    /// [`Spread::of`] what is there; `None` if that is `None`.
    pub(super) fn optional(tensor: Option<&'a Tensor>, shape: &[i64]) -> Option<Option<Self>> {
        match tensor {
            Some(tensor) => Spread::of(tensor, shape).map(Some),
            None => Some(None),
        }
    }

    /// The numbers of a range of the whole.
    #[inline(always)]
    pub(super) fn read<'b, T: Computed>(&self, range: Range<usize>, buffer: &'b mut [T]) -> &'b [T]
    where
        'a: 'b,
    {
        let length = self.numbers.len();
        if self.inner == 1 && range.end <= length {
            return self.numbers.read(range, buffer);
        }
        let mut at = range.start;
        while at < range.end {
            let to = at - range.start;
            let index = at / self.inner % length;
            if self.inner == 1 {
                let count = (length - index).min(range.end - at);
                let mut part = [T::ZERO; TILE];
                let part = self.numbers.read(index..index + count, &mut part);
                buffer[to..to + count].copy_from_slice(part);
                at += count;
            } else {
                let count = (self.inner - at % self.inner).min(range.end - at);
                let mut one = [T::ZERO];
                let one = self.numbers.read(index..index + 1, &mut one)[0];
                buffer[to..to + count].fill(one);
                at += count;
            }
        }
        &buffer[..range.len()]
    }

    /// The sum over the whole of `elements`.
    fn total(&self, elements: usize) -> f64 {
        let length = self.numbers.len();
        let sums = parallel::map(ranges(length, CHUNK), length / 4, |range| {
            let mut buffer = [0.0f64; TILE];
            tiles(range, TILE).map(|tile| sum(self.numbers.read(tile, &mut buffer))).sum::<f64>()
        });
        sums.iter().sum::<f64>() * (elements / length) as f64
    }
}

/// The sum of the weights of `elements`, 1 each where there are none.
pub(super) fn total(weight: Option<Spread<'_>>, elements: usize) -> f64 {
    weight.map_or(elements as f64, |weight| weight.total(elements))
}
