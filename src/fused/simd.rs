//! Kernels compiled for several sets of instructions, and the choice when the program runs.
//!
//! A kernel is plain loops over slices that the compiler turns into vector instructions: everything it calls is inlined into a
//! function that is compiled for the machine at hand.
#![allow(unsafe_code)] // calls of functions compiled for instructions that were found

/// Work to compile for each set of instructions. `run` and all that it calls must be `#[inline(always)]`.
pub(super) trait Kernel {
    type Output;
    fn run<M: Madd>(self) -> Self::Output;
}

/// `a b + c`, rounded once where the machine has an instruction for it.
pub(crate) trait Madd {
    fn f32(a: f32, b: f32, c: f32) -> f32;
    fn f64(a: f64, b: f64, c: f64) -> f64;
}

#[allow(dead_code)] // one of the two, by platform
pub(super) struct Fused;
#[allow(dead_code)]
pub(super) struct Plain;

impl Madd for Fused {
    #[inline(always)]
    fn f32(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    #[inline(always)]
    fn f64(a: f64, b: f64, c: f64) -> f64 {
        a.mul_add(b, c)
    }
}

impl Madd for Plain {
    #[inline(always)]
    fn f32(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
    #[inline(always)]
    fn f64(a: f64, b: f64, c: f64) -> f64 {
        a * b + c
    }
}

/// Runs a kernel with the best instructions of this machine.
#[cfg(target_arch = "x86_64")]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma,f16c")]
    fn avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Fused>()
    }
    #[target_feature(enable = "avx2,fma,f16c")]
    fn avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Fused>()
    }
    let avx2_found = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    let avx512_found = avx2_found
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512cd");
    match (avx512_found, avx2_found) {
        // SAFETY: the instructions are there.
        (true, _) => unsafe { avx512(kernel) },
        // SAFETY: as above.
        (_, true) => unsafe { avx2(kernel) },
        _ => kernel.run::<Plain>(),
    }
}

/// Runs a kernel; NEON with its fused multiply-add is part of every such machine.
#[cfg(target_arch = "aarch64")]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused>()
}

/// Runs a kernel.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Plain>()
}
