//! Making libtorch's CUDA part usable from a plain `tch` binary.
//!
//! On Linux the linker leaves `libtorch_cuda.so` out of a Rust binary, because no Rust code names a symbol
//! of it; `tch` then reports that there is no CUDA. Two ways to have it, either is enough:
//!
//! * [`load`] as the first line of `main`. The binary still starts where there is no CUDA.
//! * The feature `link-cuda`. Nothing to call, but the binary then needs `libtorch_cuda.so` to start.
//!   It has no effect where the libtorch of the build is a CPU one.
//!
//! libtorch looks for its CUDA part once, at the first question about CUDA (`tch::Cuda::is_available`,
//! `tch::Device::cuda_if_available`, `tch::utils::has_cudart`), and keeps the answer. So [`load`] has to come
//! before all of them.
//!
//! On macOS and Windows nothing is loaded: libtorch for macOS has no CUDA part, and on Windows a program that
//! does not link `torch_cuda.dll` has to load it itself. There [`load`] says only whether CUDA is in use.
#![allow(unsafe_code)]

use std::path::PathBuf;
use tch::Device;

/// Why libtorch's CUDA part is there but cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The system's loader refused the library, mostly because a library it needs is missing.
    #[error("cuda::load: expected {} to load, got: {reason}", .library.display())]
    Refused {
        /// The library.
        library: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// libtorch was asked about CUDA earlier, and it does not ask again.
    #[error(
        "cuda::load: expected to be called before the first question about CUDA, got called after it"
    )]
    TooLate,
}

/// Loads libtorch's CUDA part. Call it before anything that asks about CUDA; the best place is the first line of `main`.
///
/// `Ok(true)`: CUDA is part of this process (which does not say that there is a GPU, see [`best_device`]).
/// `Ok(false)`: this libtorch is a CPU one, and nothing was done. The first call takes about a tenth of a second.
///
/// # Errors
/// [`LoadError`] if the CUDA part is there and cannot be used.
pub fn f_load() -> Result<bool, LoadError> {
    let found = system::load()?;
    // This question fixes libtorch's answer for the rest of the process, now that it can be yes.
    match tch::utils::has_cudart() {
        false if found => Err(LoadError::TooLate),
        in_use => Ok(in_use),
    }
}

/// [`f_load`], for programs that would rather stop than train on the wrong device.
///
/// ```
/// if tch_losses::cuda::load() {
///     println!("{} GPU(s)", tch::Cuda::device_count());
/// }
/// ```
///
/// # Panics
/// If the CUDA part is there and cannot be used.
#[track_caller]
pub fn load() -> bool {
    match f_load() {
        Ok(in_use) => in_use,
        Err(e) => panic!("{e}"),
    }
}

/// The first GPU, or the CPU where there is none: [`load`], then [`Device::cuda_if_available`].
///
/// ```
/// let device = tch_losses::cuda::best_device();
/// let x = tch::Tensor::zeros([2, 3], (tch::Kind::Float, device));
/// assert_eq!(x.device(), device);
/// ```
///
/// # Panics
/// As [`load`].
#[track_caller]
pub fn best_device() -> Device {
    load();
    Device::cuda_if_available()
}

#[cfg(target_os = "linux")]
mod system {
    use super::LoadError;
    use std::{
        ffi::{CStr, CString, OsStr, c_int, c_void},
        os::unix::ffi::OsStrExt,
        path::{Path, PathBuf},
    };

    /// Whether there is a CUDA part; it is loaded then.
    pub fn load() -> Result<bool, LoadError> {
        // The one beside the libtorch in use: another of the same name may be of another version.
        let Some(library) = libtorch_cpu().map(|l| l.with_file_name("libtorch_cuda.so")) else {
            return Ok(false);
        };
        if !library.exists() {
            return Ok(false);
        }
        let name = CString::new(library.as_os_str().as_bytes()).expect("came from a C string");
        // SAFETY: `name` is a C string; the library's initialisers are those that run when it is linked.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        if !handle.is_null() {
            return Ok(true);
        }
        // SAFETY: after a failed dlopen, dlerror gives this thread's message, valid until its next call.
        let reason = unsafe { CStr::from_ptr(libc::dlerror()) }.to_string_lossy().into_owned();
        Err(LoadError::Refused { library, reason })
    }

    /// Where this process has `libtorch_cpu.so` from.
    fn libtorch_cpu() -> Option<PathBuf> {
        unsafe extern "C" fn visit(
            info: *mut libc::dl_phdr_info,
            _size: usize,
            found: *mut c_void,
        ) -> c_int {
            // SAFETY: the loader passes a valid entry whose name is null or a C string;
            // `found` is the pointer given to dl_iterate_phdr below.
            let (name, found) =
                unsafe { ((*info).dlpi_name, &mut *found.cast::<Option<PathBuf>>()) };
            if name.is_null() {
                return 0;
            }
            // SAFETY: not null, see above.
            let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()));
            if path.file_name() != Some(OsStr::new("libtorch_cpu.so")) {
                return 0;
            }
            *found = Some(path.to_owned());
            1
        }
        let mut found: Option<PathBuf> = None;
        // SAFETY: `visit` gets a pointer to `found`, which outlives the call, and does not unwind.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut found).cast()) };
        found
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub fn load() -> Result<bool, super::LoadError> {
        Ok(false)
    }
}

/// A reference to a symbol of `libtorch_cuda.so`, so that the linker keeps the library.
#[cfg(all(feature = "link-cuda", libtorch_cuda))]
mod link {
    use std::ffi::c_int;

    unsafe extern "C" {
        #[link_name = "_ZN2at4cuda9warp_sizeEv"] // at::cuda::warp_size()
        fn warp_size() -> c_int;
    }

    #[used]
    static KEEP: unsafe extern "C" fn() -> c_int = warp_size;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_finds_cuda_exactly_where_libtorch_has_it() {
        assert_eq!(f_load().unwrap(), cfg!(libtorch_cuda));
        assert_eq!(load(), tch::utils::has_cudart());
    }

    #[test]
    fn best_device_is_a_gpu_exactly_where_there_is_one() {
        assert_eq!(best_device().is_cuda(), tch::Cuda::is_available());
    }

    #[test]
    fn errors_are_one_line() {
        let refused = LoadError::Refused {
            library: "/opt/libtorch/lib/libtorch_cuda.so".into(),
            reason: "libcudart.so.13: cannot open shared object file".into(),
        };
        assert_eq!(
            refused.to_string(),
            "cuda::load: expected /opt/libtorch/lib/libtorch_cuda.so to load, \
             got: libcudart.so.13: cannot open shared object file"
        );
        assert_eq!(LoadError::TooLate.to_string().lines().count(), 1);
    }
}
