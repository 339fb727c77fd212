//! Checks what `cuda::load` and the feature `link-cuda` promise, which the crate's own tests cannot:
//! those are always linked to CUDA.
use tch::utils::has_cudart;
use tch_losses::cuda::{LoadError, f_load, load};

fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    // When `load` is called, and which libtorch this was built with.
    match args[..] {
        ["first", libtorch] => {
            assert_eq!(load(), libtorch == "CUDA");
            assert_eq!(has_cudart(), libtorch == "CUDA");
        }
        ["late", "CUDA"] => {
            assert!(!has_cudart());
            assert!(matches!(f_load(), Err(LoadError::TooLate)));
        }
        ["late", _] => assert!(!has_cudart() && !f_load().unwrap()),
        ["never", libtorch] => assert_eq!(has_cudart(), libtorch == "CUDA"),
        _ => panic!("expected first|late|never CUDA|CPU, got {args:?}"),
    }
}
