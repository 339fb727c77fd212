//! Our side of `scripts/bench`: answers its commands, one a line.
//!
//! ```text
//! value CASE SIZE            the result of one pass, summed
//! time CASE SIZE PASSES      the median time of a forward and backward pass, in seconds
//! copy CASE SIZE PASSES      the median time of a copy of the inputs that get a gradient, in seconds
//! peak CASE SIZE             the most memory that a pass takes beside its inputs, in bytes
//! ```

#[allow(dead_code)] // the criterion benchmark uses a part
mod cases;

use anyhow::{Context, Result, bail};
use cases::Job;
use std::{fs, hint::black_box, io, time::Instant};
use tch::{Cuda, Device, Kind};

fn main() -> Result<()> {
    // Without a driver there is nothing to do: `cargo bench` passes --bench alone.
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [device, threads] = args.as_slice() else {
        println!("this is scripts/bench's: it wants a device and a number of threads");
        return Ok(());
    };
    tch::set_num_threads(threads.parse()?);
    let device = cases::device(device);
    let mut job = (String::new(), None);
    for line in io::stdin().lines() {
        match answer(&line?, device, &mut job) {
            Ok(number) => println!("ok {number}"),
            Err(error) => println!("error {error:#}"),
        }
    }
    Ok(())
}

/// `job` keeps the inputs of the last case.
fn answer(line: &str, device: Device, job: &mut (String, Option<Job>)) -> Result<f64> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let &[command, case, size, ref passes @ ..] = words.as_slice() else {
        bail!("expected a command, a case and a size, got '{line}'");
    };
    let name = format!("{case} {size}");
    if job.0 != name {
        job.1 = None;
        let dims = cases::size(size).with_context(|| format!("no size: {size}"))?;
        *job = (name, Job::new(case, &dims, device));
    }
    let job = job.1.as_ref().with_context(|| format!("no case {case}"))?;
    match (command, passes) {
        ("value", []) => Ok(job.step().sum(Kind::Double).double_value(&[])),
        ("time", [passes]) => {
            let step = || drop(black_box(job.step()));
            Ok(time(device, passes.parse()?, step))
        }
        ("copy", [passes]) => {
            let mut room = job.room();
            let bytes: usize =
                room.iter().map(|to| to.numel() * to.kind().elt_size_in_bytes()).sum();
            if bytes < FOR_COPY {
                bail!("too little to tell calls from memory");
            }
            Ok(time(device, passes.parse()?, || job.copy_to(&mut room)))
        }
        ("peak", []) => peak(job, device),
        _ => bail!("no command {line}"),
    }
}

/// Bytes that a copy is timed for.
const FOR_COPY: usize = 4 << 20;

fn time(device: Device, passes: usize, mut pass: impl FnMut()) -> f64 {
    let mut seconds: Vec<f64> = (0..passes.max(1))
        .map(|_| {
            let start = Instant::now();
            pass();
            synchronise(device);
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn synchronise(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}

fn peak(job: &Job, device: Device) -> Result<f64> {
    if device != Device::Cpu {
        bail!("tch does not tell what CUDA memory is used");
    }
    // Where it is forbidden the driver starts a process for each case: nothing to forget then.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let before = memory("VmRSS")?;
    let _ = job.step();
    Ok((memory("VmHWM")? - before).max(0.0))
}

/// A line of /proc/self/status, in bytes.
fn memory(line: &str) -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    let kibibytes = value.and_then(|value| value.split_whitespace().next());
    Ok(kibibytes.context("no such line in /proc/self/status")?.parse::<f64>()? * 1024.0)
}
