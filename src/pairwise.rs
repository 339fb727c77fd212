//! Distances of each row to each other row.

use crate::Result;
use tch::{Device, Kind, Tensor};

/// libtorch's number of the way that subtracts, which is exact, rather than multiplies matrices.
const EXACT: i64 = 2;

/// `‖x_i - y_j‖²` of rows (N, D) and (M, D), without a graph, 0 for equal rows.
///
/// Off by less than the rows themselves are rounded.
pub(crate) fn squared_distances(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let (x, y) = (x.f_detach()?, y.f_detach()?);
    if x.f_kind()? != Kind::Float || x.device() != Device::Cpu {
        return Ok(Tensor::f_cdist(&x, &y, 2.0, EXACT)?.f_square()?);
    }
    // On the CPU that way takes ten times as long as a product in `Double`. What the product cancels is
    // taken off, so that equal rows are not apart: some units in the last place of the squares.
    let mean = y.f_mean_dim([0i64].as_slice(), true, Kind::Double)?;
    let (x, y) = (x.f_sub(&mean)?, y.f_sub(&mean)?);
    let noise = f64::EPSILON * (y.size()[1] as f64).sqrt();
    let squares = |rows: &Tensor| -> Result<Tensor> {
        let squares = rows.f_square()?.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Double)?;
        Ok(squares.f_mul_scalar(1.0 - noise)?)
    };
    let mut products = squares(&x)?.f_addmm(&x.f_mul_scalar(-2.0)?, &y.f_transpose(0, 1)?)?;
    let _ = products.f_add_(&squares(&y)?.f_transpose(0, 1)?)?.f_clamp_min_(0.0)?;
    Ok(products.f_to_kind(Kind::Float)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::kind::FLOAT_CPU;

    #[test]
    fn products_are_as_exact_as_differences() {
        tch::manual_seed(0);
        for dims in [1, 3, 128, 2000] {
            let rows = Tensor::randn([40, dims], FLOAT_CPU) + 100.0;
            let near = &rows + Tensor::randn([40, dims], FLOAT_CPU) * 1e-3;
            let all = Tensor::cat(&[&rows, &near, &rows], 0);
            let got = squared_distances(&all, &all).unwrap();
            let wide = all.to_kind(Kind::Double);
            let expected = squared_distances(&wide, &wide).unwrap();
            let off = (got.to_kind(Kind::Double) - &expected).abs() / expected.clamp_min(1e-30);
            assert!(off.max().double_value(&[]) < 1e-6, "{dims}: {off}");
            let twice = got.narrow(0, 0, 40).narrow(1, 80, 40).diagonal(0, 0, 1);
            assert_eq!(twice.count_nonzero(None).int64_value(&[]), 0, "{dims}: {twice}");
        }
    }

    #[test]
    fn nothing_and_rows_without_elements_are_not_apart() {
        let of = |n, m, dims| {
            let [x, y] = [n, m].map(|rows| Tensor::ones([rows, dims], FLOAT_CPU));
            squared_distances(&x, &y).unwrap()
        };
        assert_eq!(of(0, 0, 2).size(), [0, 0]);
        assert_eq!(of(0, 3, 2).size(), [0, 3]);
        assert_eq!(of(2, 3, 0).sum(None::<Kind>).double_value(&[]), 0.0);
    }
}
