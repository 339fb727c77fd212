//! What the test suites share: the device, reference fixtures, tolerances, gradient checks.
#![allow(dead_code)] // each suite uses a part

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::Path,
    sync::Mutex,
};
use tch::{Device, Kind, Tensor, nn::VarStore};

pub const KINDS: [Kind; 4] = [Kind::Double, Kind::Float, Kind::Half, Kind::BFloat16];

/// Where the suites run: `TCH_LOSSES_DEVICE` (`cpu`, `cuda:0`), the CPU by default.
///
/// Without that CUDA device the suite says that it is skipped, and ends.
pub fn device() -> Device {
    let Ok(name) = std::env::var("TCH_LOSSES_DEVICE") else { return Device::Cpu };
    let index = match name.split_once(':') {
        None if name == "cpu" => return Device::Cpu,
        None if name == "cuda" => 0,
        Some(("cuda", index)) => index.parse().expect("TCH_LOSSES_DEVICE=cuda:N"),
        _ => panic!("TCH_LOSSES_DEVICE: expected cpu, cuda or cuda:N, got {name}"),
    };
    tch_losses::cuda::load();
    if tch::Cuda::device_count() <= index as i64 {
        // Not by `eprintln!`, which the test runner would keep to itself.
        let _ = writeln!(std::io::stderr(), "skipped: libtorch sees no {name} here");
        std::process::exit(0);
    }
    Device::Cuda(index)
}

pub fn tensor(values: &[f64], shape: &[i64]) -> Tensor {
    Tensor::from_slice(values).view(shape).to_device(device())
}

pub fn index(values: &[i64], shape: &[i64]) -> Tensor {
    Tensor::from_slice(values).view(shape).to_device(device())
}

/// Numbers from libtorch's generator, which all threads share, as if this call had it alone.
fn seeded(seed: i64, draw: impl FnOnce() -> Tensor) -> Tensor {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let _alone = GENERATOR.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    tch::manual_seed(seed);
    draw()
}

/// Normal random numbers that are the same on every device and kind.
pub fn randn(seed: i64, shape: &[i64], kind: Kind) -> Tensor {
    let numbers = seeded(seed, || Tensor::randn(shape, (Kind::Double, Device::Cpu)));
    numbers.to_kind(kind).to_device(device())
}

/// Uniform random numbers in [0, 1).
pub fn rand(seed: i64, shape: &[i64], kind: Kind) -> Tensor {
    let numbers = seeded(seed, || Tensor::rand(shape, (Kind::Double, Device::Cpu)));
    numbers.to_kind(kind).to_device(device())
}

pub fn randint(seed: i64, high: i64, shape: &[i64]) -> Tensor {
    seeded(seed, || Tensor::randint(high, shape, (Kind::Int64, Device::Cpu))).to_device(device())
}

/// (relative, absolute) tolerance of a kind, for a well-conditioned loss.
pub fn tolerance(kind: Kind) -> (f64, f64) {
    match kind {
        Kind::Double => (1e-9, 1e-11),
        Kind::Float => (2e-5, 2e-6),
        Kind::Half => (4e-3, 2e-3),
        Kind::BFloat16 => (3e-2, 1e-2),
        other => panic!("no tolerance for {other:?}"),
    }
}

#[track_caller]
pub fn assert_close(what: &str, got: &Tensor, expected: &Tensor, (rtol, atol): (f64, f64)) {
    assert_eq!(got.size(), expected.size(), "{what}: shape");
    let (got, expected) = (
        got.to_device(Device::Cpu).to_kind(Kind::Double),
        expected.to_device(Device::Cpu).to_kind(Kind::Double),
    );
    let excess = (&got - &expected).abs() - (expected.abs() * rtol + atol);
    let worst = if got.numel() == 0 { -1.0 } else { excess.max().double_value(&[]) };
    // Written so that NaN fails.
    assert!(
        worst <= 0.0,
        "{what}: off by {worst:e} beyond tolerance\n got {}\n expected {}",
        got.to_string(120).unwrap(),
        expected.to_string(120).unwrap()
    );
}

#[track_caller]
pub fn assert_value(what: &str, got: &Tensor, expected: f64, tolerance: f64) {
    let got = got.double_value(&[]);
    assert!((got - expected).abs() <= tolerance, "{what}: expected {expected}, got {got}");
}

#[track_caller]
pub fn assert_finite(what: &str, tensor: &Tensor) {
    assert!(tensor.defined(), "{what}: undefined");
    let finite = tensor.isfinite().all().int64_value(&[]) == 1;
    assert!(finite, "{what}: not finite\n{}", tensor.to_string(120).unwrap());
}

/// A leaf that collects a gradient.
pub fn leaf(tensor: &Tensor) -> Tensor {
    tensor.detach().copy().set_requires_grad(true)
}

/// Value of `f` and gradient of its sum, with respect to one input.
pub fn value_and_grad(input: &Tensor, f: impl Fn(&Tensor) -> Tensor) -> (Tensor, Tensor) {
    let input = leaf(input);
    let value = f(&input);
    value.sum(None::<Kind>).backward();
    (value.detach(), input.grad())
}

/// One case of a fixture: named tensors, floating-point ones in the kind under test.
pub struct Case {
    tensors: BTreeMap<String, Tensor>,
}

impl Case {
    #[track_caller]
    pub fn get(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("no tensor `{name}` in this case"))
    }
}

/// Reference inputs, values and gradients of one family, written by `scripts/export_fixtures.py`.
pub struct Fixture {
    cases: BTreeMap<String, BTreeMap<String, Tensor>>,
    visited: RefCell<BTreeSet<String>>,
}

impl Fixture {
    pub fn open(family: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(format!("{family}.safetensors"));
        let mut cases = BTreeMap::<_, BTreeMap<_, _>>::new();
        for (key, tensor) in Tensor::read_safetensors(&path).expect("a readable fixture") {
            let (case, name) = key.rsplit_once('/').expect("keys like case/name");
            cases.entry(case.to_owned()).or_default().insert(name.to_owned(), tensor);
        }
        Fixture { cases, visited: RefCell::default() }
    }

    pub fn case(&self, case: &str, kind: Kind) -> Case {
        let stored = self.cases.get(case).unwrap_or_else(|| panic!("no case `{case}`"));
        self.visited.borrow_mut().insert(case.to_owned());
        let load = |tensor: &Tensor| {
            let tensor = tensor.to_device(device());
            if tensor.kind() == Kind::Double { tensor.to_kind(kind) } else { tensor }
        };
        Case { tensors: stored.iter().map(|(name, tensor)| (name.clone(), load(tensor))).collect() }
    }

    /// Compares value and gradients in Double and Float.
    ///
    /// The case holds `value`, for each differentiated input `x` a `grad_x`, and where the value is
    /// no scalar the `grad_output` that was pulled back.
    pub fn parity(&self, case: &str, differentiated: &[&str], f: impl Fn(&Case) -> Tensor) {
        self.parity_within(case, differentiated, &[Kind::Double, Kind::Float], tolerance, f);
    }

    pub fn parity_within(
        &self,
        case: &str,
        differentiated: &[&str],
        kinds: &[Kind],
        tolerance: impl Fn(Kind) -> (f64, f64),
        f: impl Fn(&Case) -> Tensor,
    ) {
        let reference = self.case(case, Kind::Double);
        for &kind in kinds {
            let mut inputs = self.case(case, kind);
            for &name in differentiated {
                let input = leaf(inputs.get(name));
                inputs.tensors.insert(name.to_owned(), input);
            }
            let value = f(&inputs);
            let what = format!("{case} in {kind:?}");
            assert_close(
                &format!("{what}: value"),
                &value,
                reference.get("value"),
                tolerance(kind),
            );
            if differentiated.is_empty() {
                continue;
            }
            let pulled = match inputs.tensors.get("grad_output") {
                Some(grad_output) => (&value * grad_output.to_kind(value.kind())).sum(None::<Kind>),
                None => value.shallow_clone(),
            };
            pulled.backward();
            for &name in differentiated {
                let what = format!("{what}: gradient of {name}");
                let expected = reference.get(&format!("grad_{name}"));
                let got = inputs.get(name).grad();
                assert_eq!(got.kind(), kind, "{what}: kind");
                assert_close(&what, &got, expected, tolerance(kind));
            }
        }
    }

    /// Fails if a case of the file was not compared.
    pub fn finish(self) {
        let visited = self.visited.into_inner();
        let left: Vec<_> = self.cases.keys().filter(|case| !visited.contains(*case)).collect();
        assert!(left.is_empty(), "cases nobody compared: {left:?}");
    }
}

/// Compares the gradient of `f` with central differences in Double; `f` may return any shape.
pub fn gradcheck(what: &str, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    const STEP: f64 = 1e-6;
    let inputs: Vec<_> = inputs.iter().map(|t| leaf(&t.to_kind(Kind::Double))).collect();
    let value = f(&inputs);
    assert_eq!(value.kind(), Kind::Double, "{what}: kind of the value");
    let pull = randn(97, &value.size(), Kind::Double);
    (&value * &pull).sum(None::<Kind>).backward();
    let scalar = |inputs: &[Tensor]| (f(inputs) * &pull).sum(None::<Kind>).double_value(&[]);
    let detached: Vec<_> = inputs.iter().map(|t| t.detach()).collect();
    for (n, input) in inputs.iter().enumerate() {
        let numeric: Vec<f64> = (0..input.numel() as i64)
            .map(|i| {
                let moved = |step: f64| {
                    let moved: Vec<_> = detached.iter().map(Tensor::copy).collect();
                    let _ = moved[n].view(-1).get(i).f_add_scalar_(step).unwrap();
                    scalar(&moved)
                };
                (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
            })
            .collect();
        let numeric = tensor(&numeric, &input.size());
        let what = format!("{what}: gradient of input {n} against differences");
        assert_close(&what, &input.grad(), &numeric, (1e-5, 1e-7));
    }
}

/// [`gradcheck`] of the gradient itself.
pub fn gradgradcheck(what: &str, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    // Drawn once: code under test that draws in another thread would change a second drawing.
    let pull = RefCell::new(None::<Tensor>);
    gradcheck(&format!("{what}, twice"), inputs, |inputs| {
        let inputs: Vec<_> = inputs
            .iter()
            .map(|t| if t.requires_grad() { t.shallow_clone() } else { leaf(t) })
            .collect();
        let value = f(&inputs);
        let mut pull = pull.borrow_mut();
        let pull = pull.get_or_insert_with(|| randn(98, &value.size(), Kind::Double));
        let pulled = (&value * &*pull).sum(None::<Kind>);
        let grads = Tensor::run_backward(&[pulled], &inputs, true, true);
        let flat: Vec<_> = grads.iter().map(|g| g.flatten(0, -1)).collect();
        Tensor::cat(&flat, 0)
    });
}

/// The numbers that scripts/fixtures/common.py fills networks with.
pub fn numbers(shape: &[i64], seed: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    let k = Tensor::arange(count, (Kind::Double, Device::Cpu));
    let wave: Tensor = &k * 12.9898 + seed * 78.233 + &k * &k * 0.37;
    wave.sin().view(shape)
}

/// Fills the variables under `prefix` as scripts/fixtures/common.py does.
pub fn fill(vs: &VarStore, prefix: &str) {
    let variables: BTreeMap<String, Tensor> = vs.variables().into_iter().collect();
    // torchvision's state has a counter beside each pair of statistics, which takes a number too.
    let mut names: Vec<String> =
        variables.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
    let counters = names.iter().filter(|name| name.ends_with("running_mean"));
    let counters: Vec<String> =
        counters.map(|name| name.replace("running_mean", "num_batches_tracked")).collect();
    names.extend(counters);
    names.sort();
    tch::no_grad(|| {
        for (i, name) in names.iter().enumerate() {
            let Some(variable) = variables.get(name) else { continue };
            let size = variable.size();
            let wave = numbers(&size, i as f64);
            let wave: Tensor = if size.len() > 1 {
                wave * 2.0 / (size[1..].iter().product::<i64>() as f64).sqrt()
            } else if name.ends_with("running_var") || name.ends_with("weight") {
                wave * 0.3 + 1.0
            } else {
                wave * 0.2
            };
            variable.shallow_clone().copy_(&wave);
        }
    });
}

/// Each map of each image as three numbers: its products with three waves.
pub fn projected(maps: &[Tensor]) -> Tensor {
    let of_map = |map: &Tensor| {
        let flat = map.flatten(1, -1);
        let wave =
            |seed: i32| numbers(&map.size()[1..], seed.into()).view([-1]).to_device(device());
        let waves = Tensor::stack(&[wave(0), wave(1), wave(2)], 0);
        flat.matmul(&waves.to_kind(map.kind()).tr())
    };
    Tensor::cat(&maps.iter().map(of_map).collect::<Vec<_>>(), 1)
}

/// Deep sums in Float.
pub fn deep(kind: Kind) -> (f64, f64) {
    if kind == Kind::Double { (1e-8, 1e-9) } else { (2e-3, 2e-4) }
}
