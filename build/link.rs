//! Links a package's own tests, examples and benches against the libtorch that torch-sys found.

use std::{env, path::Path};

/// The whole build script of a package that only links; a part of that of a package that does more.
pub fn main() {
    println!("cargo:rustc-check-cfg=cfg(libtorch_cuda)");
    // Absent under `doc-only` and on Windows: then nothing is added.
    let Some(lib) = env::var_os("DEP_TCH_LIBTORCH_LIB") else { return };
    let lib = Path::new(&lib);
    println!("cargo:rerun-if-changed={}", lib.display());
    // So that the binaries still start when a symbolic link on the way points elsewhere later.
    let lib = lib.canonicalize().unwrap_or_else(|_| lib.to_owned());
    if lib.join("libtorch_cuda.so").exists() {
        println!("cargo:rustc-cfg=libtorch_cuda");
    }
    let os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if os == "linux" || os == "macos" {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
    if os == "linux" {
        // libtorch.so needs libtorch_cuda.so where there is one; by default the linker would drop it as unused.
        println!("cargo:rustc-link-arg=-Wl,--push-state,--no-as-needed,-ltorch,--pop-state");
    }
}
