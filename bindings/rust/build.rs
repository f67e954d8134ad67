//! Finds libgradclip.so: in the folder that GRADCLIP_LIB_DIR names, or else where
//! pkg-config finds gradclip. A crate that depends on this one gets the folder as
//! DEP_GRADCLIP_LIB_DIR in its own build script, to set an rpath if it wants one.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{exit, Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=GRADCLIP_LIB_DIR");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    // docs.rs and `cargo doc` need no library.
    if env::var_os("DOCS_RS").is_some() {
        return;
    }
    let folder = match find() {
        Ok(folder) => folder,
        Err(reason) => {
            eprintln!("{}", reason);
            exit(1);
        }
    };
    println!("cargo:rustc-link-search=native={}", folder.display());
    println!("cargo:rustc-link-lib=dylib=gradclip");
    println!("cargo:lib_dir={}", folder.display());
    // For the tests of this package; Cargo does not hand it on to dependents.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
}

fn find() -> Result<PathBuf, String> {
    if let Some(folder) = env::var_os("GRADCLIP_LIB_DIR") {
        let folder = PathBuf::from(folder);
        return if has_library(&folder) {
            // Cargo runs the linker elsewhere.
            folder.canonicalize().map_err(|error| format!("GRADCLIP_LIB_DIR: {}", error))
        } else {
            Err(format!("GRADCLIP_LIB_DIR is {:?}, and there is no libgradclip.so in it", folder))
        };
    }
    // A variable, not --libs: a path with spaces comes out whole.
    let tool = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let wanted = concat!("gradclip >= ", env!("CARGO_PKG_VERSION"));
    let reason = match Command::new(&tool).args(["--variable=libdir", wanted]).output() {
        Ok(output) if output.status.success() => {
            let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n'));
            if has_library(&folder) {
                return Ok(folder);
            }
            format!("it names {:?}, where there is no libgradclip.so", folder)
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_string(),
        Err(error) => error.to_string(),
    };
    Err(format!(
        "libgradclip was not found. Set GRADCLIP_LIB_DIR to the folder with libgradclip.so, or \
         PKG_CONFIG_PATH to the one with gradclip.pc.\nTried: GRADCLIP_LIB_DIR is not set; {:?} \"{}\": {}",
        tool, wanted, reason
    ))
}

fn has_library(folder: &Path) -> bool {
    folder.join("libgradclip.so").exists()
}
