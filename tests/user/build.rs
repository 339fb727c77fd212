//! Lets the binary find libtorch without LD_LIBRARY_PATH: no library can do this for its users.
fn main() {
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
        println!("cargo:rustc-env=LIBTORCH_LIB={lib}"); // for the checks in main.rs only
    }
}
