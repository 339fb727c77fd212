//! The Lovász extension of the Jaccard loss: rows of errors, sorted and summed in one go.
#![allow(unsafe_code)] // threads write their own rows of slopes

use super::{
    data::{Computed, Numbers, Shared},
    parallel,
};
use crate::Result;
use tch::{Kind, Tensor};

/// Rows of errors, which are not negative, (.., P).
#[derive(Debug)]
pub(crate) struct LovaszRows<'a> {
    pub(crate) errors: &'a Tensor,
    /// What is of the class, `Bool` in the shape of the errors.
    pub(crate) foreground: &'a Tensor,
    /// How often each error counts, in that shape too.
    pub(crate) weight: Option<&'a Tensor>,
}

/// What comes of a row: numbers (..), and the slope of the value in each error.
pub(crate) struct LovaszSums {
    pub(crate) value: Tensor,
    /// How much of the class there is.
    pub(crate) present: Tensor,
    /// How much there is at all.
    pub(crate) total: Tensor,
    pub(crate) slope: Option<Tensor>,
}

impl LovaszRows<'_> {
    /// The sums, or `None` where they have to be composed.
    pub(crate) fn sums(&self, with_slope: bool) -> Result<Option<LovaszSums>> {
        let errors = self.errors.f_contiguous()?;
        let foreground = self.foreground.f_contiguous()?;
        let weight = self.weight.map(Tensor::f_contiguous).transpose()?;
        let size = errors.size();
        let row = size.last().map_or(0, |&length| length as usize);
        if !super::applies(&errors, [Some(&foreground), weight.as_ref()])
            || i32::try_from(row).is_err()
        {
            return Ok(None);
        }
        let (Some(of_errors), Some(Numbers::Uint8(of_class))) =
            (Numbers::of(&errors), Numbers::of(&foreground))
        else {
            return Ok(None);
        };
        let weights = match weight.as_ref().map(Numbers::of) {
            Some(None) => return Ok(None),
            Some(numbers) => numbers,
            None => None,
        };
        let mut slope = if with_slope { Some(errors.f_empty_like()?) } else { None };
        let to = slope.as_mut().map(Shared::of);
        let data = Data { errors: of_errors, of_class, weights, row, to };
        let rows = match errors.f_kind()? {
            Kind::Float => data.rows::<f32>(),
            Kind::Double => data.rows::<f64>(),
            _ => None,
        };
        let Some(rows) = rows else { return Ok(None) };
        super::count_one();
        let numbers = |of: fn(&Row) -> f64| -> Result<Tensor> {
            let all: Vec<f64> = rows.iter().map(of).collect();
            let shaped = Tensor::f_from_slice(&all)?.f_view(&size[..size.len() - 1])?;
            Ok(shaped.f_to_kind(errors.f_kind()?)?)
        };
        Ok(Some(LovaszSums {
            value: numbers(|row| row.value)?,
            present: numbers(|row| row.present)?,
            total: numbers(|row| row.total)?,
            slope,
        }))
    }
}

struct Row {
    value: f64,
    present: f64,
    total: f64,
}

/// A number with where it was, sorted by the number's bits.
trait Sorted: Computed {
    type Item: Copy + Default + Send;
    /// Of 11 bits each.
    const DIGITS: usize;

    fn item(self, tag: u32) -> Self::Item;
    fn parts(item: Self::Item) -> (Self, u32);
    /// The lowest first; smaller for larger numbers.
    fn digit(item: Self::Item, place: usize) -> usize;
}

const DIGIT: usize = 11;
const VALUES: usize = 1 << DIGIT;

// The bits of numbers that are not negative are in the order of the numbers, their complements in the opposite one.
impl Sorted for f32 {
    type Item = u64;
    const DIGITS: usize = 3;

    fn item(self, tag: u32) -> u64 {
        u64::from(!self.to_bits() & (u32::MAX >> 1)) << 32 | u64::from(tag)
    }
    fn parts(item: u64) -> (f32, u32) {
        (f32::from_bits(!((item >> 32) as u32) & (u32::MAX >> 1)), item as u32)
    }
    fn digit(item: u64, place: usize) -> usize {
        (item >> (32 + DIGIT * place)) as usize % VALUES
    }
}

impl Sorted for f64 {
    type Item = (u64, u32);
    const DIGITS: usize = 6;

    fn item(self, tag: u32) -> (u64, u32) {
        (!self.to_bits() & (u64::MAX >> 1), tag)
    }
    fn parts((key, tag): (u64, u32)) -> (f64, u32) {
        (f64::from_bits(!key & (u64::MAX >> 1)), tag)
    }
    fn digit((key, _): (u64, u32), place: usize) -> usize {
        (key >> (DIGIT * place)) as usize % VALUES
    }
}

/// Sorts by one digit after the other, equal ones in the order they had; the digits that are the same for all cost nothing.
fn sort<T: Sorted>(items: &mut Vec<T::Item>, other: &mut Vec<T::Item>) {
    let mut counts = [[0u32; VALUES]; 6];
    for &item in items.iter() {
        for (place, counts) in counts.iter_mut().enumerate().take(T::DIGITS) {
            counts[T::digit(item, place)] += 1;
        }
    }
    other.resize(items.len(), T::Item::default());
    for (place, counts) in counts.iter_mut().enumerate().take(T::DIGITS) {
        if counts[T::digit(items[0], place)] as usize == items.len() {
            continue;
        }
        let mut next = 0;
        for count in counts.iter_mut() {
            next += std::mem::replace(count, next);
        }
        for &item in items.iter() {
            let at = &mut counts[T::digit(item, place)];
            other[*at as usize] = item;
            *at += 1;
        }
        std::mem::swap(items, other);
    }
}

#[derive(Clone, Copy)]
struct Data<'a> {
    errors: Numbers<'a>,
    of_class: &'a [u8],
    weights: Option<Numbers<'a>>,
    /// Errors of a row.
    row: usize,
    to: Option<Shared<'a>>,
}

/// The bit of a tag that says that the error is one of the class.
const OF_CLASS: u32 = 1 << 31;

impl Data<'_> {
    /// `None` where errors and weights are of two kinds.
    fn rows<T: Sorted>(self) -> Option<Vec<Row>> {
        let errors = T::of_numbers(self.errors)?;
        let weights = match self.weights {
            Some(weights) => Some(T::of_numbers(weights)?),
            None => None,
        };
        let rows = errors.len() / self.row;
        let scratch = || (Vec::new(), Vec::new(), vec![T::ZERO; self.row]);
        let units = 8 * errors.len();
        Some(parallel::map_with(0..rows, units, scratch, |(items, other, slopes), row| {
            let range = row * self.row..(row + 1) * self.row;
            let weights = weights.map(|weights| &weights[range.clone()]);
            let of_class = &self.of_class[range.clone()];
            items.clear();
            let tags = of_class
                .iter()
                .zip(0u32..)
                .map(|(&of_class, at)| if of_class == 0 { at } else { at | OF_CLASS });
            items.extend(errors[range.clone()].iter().zip(tags).map(|(&e, tag)| e.item(tag)));
            sort::<T>(items, other);
            let sums = extension::<T>(items, of_class, weights, slopes);
            if let Some(to) = self.to {
                // SAFETY: the row is this item's.
                unsafe { to.write(range.start, slopes) };
            }
            sums
        }))
    }
}

/// The sums of sorted errors; writes their slopes to where they were.
fn extension<T: Sorted>(
    items: &[T::Item],
    of_class: &[u8],
    weights: Option<&[T]>,
    slopes: &mut [T],
) -> Row {
    let counts = |at: usize| weights.map_or(1.0, |weights| weights[at].to_f64());
    let all = || (0..of_class.len()).map(|at| (counts(at), of_class[at] != 0));
    let total = all().map(|(count, _)| count).sum();
    let present: f64 = all().filter(|&(_, of_class)| of_class).map(|(count, _)| count).sum();
    let (mut value, mut met, mut found) = (0.0, 0.0, 0.0);
    for &item in items {
        let (error, tag) = T::parts(item);
        let at = (tag & !OF_CLASS) as usize;
        let count = counts(at);
        // J_i - J_(i-1) without a difference of numbers near each other: w / U_i for an error of the class, else
        // w I_i / (U_i U_(i-1)). Where nothing was in the union yet, J goes from 0 to 1.
        let before = met - found + present;
        met += count;
        let is_of_class = tag & OF_CLASS != 0;
        let (mut union, mut share) = (before, 1.0);
        if is_of_class {
            found += count;
        } else {
            union += count;
            if before > 0.0 {
                // Rounded sums of the same weights in two orders.
                share = (present - found).max(0.0) / before;
            }
        }
        let step = count * share / if union > 0.0 { union } else { 1.0 };
        slopes[at] = T::of(step);
        value += step * error.to_f64();
    }
    Row { value, present, total }
}
