//! Forward and backward of every loss at a small and a usual size.
//!
//! `cargo bench --bench losses [-- CASE]`, on the device `TCH_LOSSES_DEVICE` (`cpu`, `cuda:0`).

#[allow(dead_code)] // scripts/bench uses a part of its own
mod cases;

use cases::Job;
use criterion::Criterion;
use std::{hint::black_box, time::Duration};
use tch::{Cuda, Device};

fn main() {
    let device = std::env::var("TCH_LOSSES_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    let device = cases::device(&device);
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for (case, sizes) in cases::table() {
        for size in &sizes[..2] {
            let dims = cases::size(size).expect("table.txt holds sizes like 2x19x16x16");
            // Made when the case is run: a filter leaves most out.
            let mut job = None;
            criterion.bench_function(&format!("{case}/{size}"), |bencher| {
                let job = job.get_or_insert_with(|| {
                    Job::new(case, &dims, device).expect("table.txt holds cases of mod.rs")
                });
                bencher.iter(|| {
                    let _ = black_box(job.step());
                    if let Device::Cuda(index) = device {
                        Cuda::synchronize(index as i64);
                    }
                });
            });
        }
    }
    criterion.final_summary();
}
