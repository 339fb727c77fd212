//! Checks what `cuda::load` and the feature `link-cuda` promise, which the crate's own tests cannot:
//! those are always linked to CUDA.
use std::path::Path;
use tch::utils::has_cudart;
use tch_losses::cuda::{LoadError, f_load, load};

fn main() {
    let cuda = Path::new(env!("LIBTORCH_LIB")).join("libtorch_cuda.so").exists();
    match std::env::args().nth(1).as_deref() {
        Some("load-first") => {
            assert_eq!(load(), cuda);
            assert_eq!(has_cudart(), cuda);
        }
        Some("load-late") => {
            assert!(!has_cudart());
            match f_load() {
                Err(LoadError::TooLate) => assert!(cuda),
                loaded => assert_eq!((loaded.unwrap(), cuda), (false, false)),
            }
        }
        Some("load-never") => assert_eq!(has_cudart(), cuda && cfg!(feature = "link-cuda")),
        other => panic!("expected load-first, load-late or load-never, got {other:?}"),
    }
}
