//! L-BFGS, which tch does not have, and which Gram matrices need: the curvature of their loss differs by
//! orders of magnitude from one direction to another, so that a gradient step is either too short or
//! too long. Adam is 50 times as far from the texture after the same time (gravel, 2 minutes).

use anyhow::{Result, ensure};
use tch::{Kind, Tensor, no_grad};

/// Steps remembered.
const HISTORY: usize = 20;
/// The largest change of a number in a step without history.
const FIRST: f64 = 0.1;
/// The share of the decrease promised by the slope that is enough (Armijo).
const ENOUGH: f64 = 1e-4;
/// Shorter steps tried before a direction is given up.
const TRIALS: usize = 12;

/// Limited-memory BFGS (Nocedal 1980) with a backtracking line search.
#[derive(Debug, Default)]
pub struct Lbfgs {
    /// Changes of the point and of the gradient, the oldest first.
    history: Vec<(Tensor, Tensor)>,
    /// Loss and gradient where the last step ended.
    last: Option<(f64, Tensor)>,
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    (a * b).sum(Kind::Double).double_value(&[])
}

impl Lbfgs {
    /// Moves `x` to where the loss is less, and returns that loss; none if there is no such place in the
    /// directions known. `evaluate` gives loss and gradient.
    pub fn step(
        &mut self,
        x: &mut Tensor,
        mut evaluate: impl FnMut(&Tensor) -> Result<(f64, Tensor)>,
    ) -> Result<Option<f64>> {
        let (loss, gradient) = match self.last.take() {
            Some(last) => last,
            None => evaluate(x)?,
        };
        ensure!(loss.is_finite(), "the loss is not finite: {loss}");
        let start = x.detach().copy();
        loop {
            let mut direction = self.direction(&gradient);
            let mut slope = dot(&direction, &gradient);
            if slope >= 0.0 {
                self.history.clear();
                direction = -&gradient;
                slope = -dot(&gradient, &gradient);
            }
            if slope == 0.0 {
                return Ok(None);
            }
            let mut length = match self.history.is_empty() {
                true => FIRST / direction.abs().max().double_value(&[]),
                false => 1.0,
            };
            for _ in 0..TRIALS {
                let moved: Tensor = &start + &direction * length;
                no_grad(|| x.copy_(&moved));
                let (reached, slant) = evaluate(x)?;
                if reached.is_finite() && reached <= loss + ENOUGH * length * slope {
                    self.remember(&moved - &start, &slant - &gradient);
                    self.last = Some((reached, slant));
                    return Ok(Some(reached));
                }
                // The least of the parabola through what is known, not too near to either end.
                let bend = reached - loss - length * slope;
                let least = -slope * length * length / (2.0 * bend);
                let usual = if least.is_finite() { least } else { 0.0 };
                length = usual.clamp(0.1 * length, 0.5 * length);
            }
            no_grad(|| x.copy_(&start));
            if self.history.is_empty() {
                self.last = Some((loss, gradient));
                return Ok(None);
            }
            self.history.clear();
        }
    }

    /// Keeps a pair whose curvature is positive: the line search does not ensure it.
    fn remember(&mut self, s: Tensor, y: Tensor) {
        if dot(&s, &y) > 1e-10 * dot(&y, &y) {
            self.history.push((s, y));
            let over = self.history.len().saturating_sub(HISTORY);
            self.history.drain(..over);
        }
    }

    /// Less the approximate inverse Hessian times the gradient, by the two loops.
    fn direction(&self, gradient: &Tensor) -> Tensor {
        let mut direction = -gradient;
        let mut shares = Vec::new();
        for (s, y) in self.history.iter().rev() {
            let share = dot(s, &direction) / dot(s, y);
            direction -= y * share;
            shares.push(share);
        }
        if let Some((s, y)) = self.history.last() {
            direction *= dot(s, y) / dot(y, y);
        }
        for ((s, y), share) in self.history.iter().zip(shares.iter().rev()) {
            direction += s * (share - dot(y, &direction) / dot(s, y));
        }
        direction
    }

    /// What a later run needs to go on.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let count = ("pairs".to_owned(), Tensor::from(self.history.len() as i64));
        let pairs = self.history.iter().enumerate().flat_map(|(i, (s, y))| {
            [(format!("s{i}"), s.shallow_clone()), (format!("y{i}"), y.shallow_clone())]
        });
        std::iter::once(count).chain(pairs).collect()
    }

    /// Takes over a saved state for points like `x`.
    pub fn load(&mut self, state: &[(String, Tensor)], x: &Tensor) -> Result<()> {
        let find = |name: &str| state.iter().find(|(saved, _)| saved == name).map(|(_, t)| t);
        let place = |t: &Tensor| t.to_device(x.device());
        self.last = None;
        self.history.clear();
        while let (Some(s), Some(y)) =
            (find(&format!("s{}", self.history.len())), find(&format!("y{}", self.history.len())))
        {
            ensure!(
                s.size() == x.size() && y.size() == x.size(),
                "its optimiser is of a picture of {:?}, not {:?}",
                s.size(),
                x.size()
            );
            self.history.push((place(s), place(y)));
        }
        ensure!(find("pairs").is_some(), "its optimiser is not lbfgs");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// Rosenbrock's valley: loss and gradient.
    fn valley(x: &Tensor) -> Result<(f64, Tensor)> {
        let x = x.detach().set_requires_grad(true);
        let (a, b) = (x.get(0), x.get(1));
        let (near, bend): (Tensor, Tensor) = (1.0 - &a, b - a.square());
        let loss: Tensor = near.square() + bend.square() * 100.0;
        let gradient = Tensor::run_backward(&[&loss], &[&x], false, false).remove(0);
        Ok((loss.double_value(&[]), gradient))
    }

    #[test]
    fn a_curved_valley_is_followed_to_its_end() {
        let mut x = Tensor::from_slice(&[-1.2f64, 1.0]);
        let (mut lbfgs, mut losses) = (Lbfgs::default(), Vec::new());
        for _ in 0..60 {
            let Some(loss) = lbfgs.step(&mut x, valley).unwrap() else { break };
            losses.push(loss);
        }
        assert!(losses.windows(2).all(|pair| pair[1] < pair[0]), "{losses:?}");
        let gap = (&x - 1.0).abs().max().double_value(&[]);
        assert!(gap < 1e-6, "{gap} after {} steps", losses.len());
        assert!(lbfgs.history.len() <= HISTORY);
    }

    #[test]
    fn a_saved_state_goes_on_as_if_it_had_not_stopped() {
        let run = |stop: bool| {
            let mut x = Tensor::from_slice(&[-1.2f64, 1.0]);
            let mut lbfgs = Lbfgs::default();
            for step in 0..9 {
                if stop && step == 5 {
                    let state = lbfgs.state();
                    lbfgs = Lbfgs::default();
                    lbfgs.load(&state, &x).unwrap();
                }
                lbfgs.step(&mut x, valley).unwrap();
            }
            x
        };
        assert_eq!(run(false), run(true));
        let other = Lbfgs::default().load(&[], &run(false)).unwrap_err().to_string();
        assert!(other.contains("not lbfgs"), "{other}");
    }

    #[test]
    fn where_nothing_is_less_it_says_so() {
        let flat = |x: &Tensor| Ok((1.0, x.zeros_like()));
        let mut x = Tensor::zeros([3], (Kind::Double, Device::Cpu));
        assert_eq!(Lbfgs::default().step(&mut x, flat).unwrap(), None);
        // A gradient that points the wrong way.
        let wrong = |x: &Tensor| Ok((dot(x, x), x * -2.0));
        let mut x = Tensor::from_slice(&[1.0f64, 2.0]);
        assert_eq!(Lbfgs::default().step(&mut x, wrong).unwrap(), None);
        assert_eq!(x, Tensor::from_slice(&[1.0f64, 2.0]));
        assert!(Lbfgs::default().step(&mut x, |x| Ok((f64::NAN, x.copy()))).is_err());
    }
}
