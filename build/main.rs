//! Compiles the C++ side of `autograd` against the libtorch that torch-sys found, and links to it.

mod link;

use std::{
    env,
    path::{Path, PathBuf},
};

fn main() {
    println!("cargo:rustc-check-cfg=cfg(autograd_node)");
    if let Some(lib) = env::var_os("DEP_TCH_LIBTORCH_LIB") {
        compile_node(Path::new(&lib));
    }
    link::main();
}

/// Without it the losses are composed of libtorch's operations, and `autograd` says that it is missing.
fn compile_node(lib: &Path) {
    const SOURCE: &str = "src/autograd/node.cpp";
    println!("cargo:rerun-if-changed={SOURCE}");
    for name in ["LIBTORCH_INCLUDE", "LIBTORCH_CXX11_ABI"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let around = lib.parent().map(Path::to_owned).unwrap_or_default();
    let root = env::var_os("LIBTORCH_INCLUDE").map_or(around, PathBuf::from);
    let include = root.join("include");
    if !include.join("torch/csrc/autograd/custom_function.h").exists() {
        println!("cargo:warning=no headers of libtorch in {}: no fused losses", include.display());
        return;
    }
    // torch-sys asks Python where libtorch comes from it; every build since 2.6 answers 1.
    let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    let compiled = cc::Build::new()
        .cpp(true)
        .pic(true)
        .warnings(false)
        .std("c++17")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .flag_if_supported("-Wno-c++20-extensions")
        .file(SOURCE)
        .try_compile("tch_losses_node");
    match compiled {
        Ok(()) => println!("cargo:rustc-cfg=autograd_node"),
        Err(error) => {
            println!("cargo:warning={SOURCE} does not compile, so no fused losses: {error}")
        }
    }
}
