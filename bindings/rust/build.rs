//! Finds libgradclip: in the folder that GRADCLIP_LIB_DIR names, or else where pkg-config
//! finds gradclip; libgradclip.a with the feature "static". A crate that depends on this one gets
//! the folder as DEP_GRADCLIP_LIB_DIR in its own build script, to set an rpath if it wants one.
//!
//! Where there is none, `cargo doc` and `cargo check` go on, with a warning that says what to
//! install; a program is not linked then.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{exit, Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=GRADCLIP_LIB_DIR");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    let system = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let (kind, file) = match env::var_os("CARGO_FEATURE_STATIC") {
        Some(_) => ("static", "libgradclip.a"),
        None if system == "macos" => ("dylib", "libgradclip.dylib"),
        None if system == "windows" => ("dylib", "gradclip.lib"),
        None => ("dylib", "libgradclip.so"),
    };
    match find(file) {
        Ok(folder) => {
            println!("cargo:rustc-link-search=native={}", folder.display());
            println!("cargo:lib_dir={}", folder.display());
            println!("cargo:rustc-link-lib={}=gradclip", kind);
            if kind == "dylib" && system != "windows" {
                // For the tests of this package; Cargo does not hand it on to dependents.
                println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
            }
        }
        Err(Missing::Named(reason)) => {
            // Somebody said where it is, and it is not there.
            eprintln!("{}", reason);
            exit(1);
        }
        Err(Missing::Nowhere(reason)) => {
            for line in reason.lines() {
                println!("cargo:warning={}", line);
            }
            // (A static library that is not there would end the compilation of this crate.)
            println!("cargo:rustc-link-lib=dylib=gradclip");
        }
    }
}

enum Missing {
    Named(String),
    Nowhere(String),
}

fn find(file: &str) -> Result<PathBuf, Missing> {
    if let Some(folder) = env::var_os("GRADCLIP_LIB_DIR") {
        let folder = PathBuf::from(folder);
        if !has(&folder, file) {
            return Err(Missing::Named(format!("GRADCLIP_LIB_DIR is {:?}, and there is no {} in it", folder, file)));
        }
        // Cargo runs the linker elsewhere.
        return folder.canonicalize().map_err(|error| Missing::Named(format!("GRADCLIP_LIB_DIR: {}", error)));
    }
    // A variable, not --libs: a path with spaces comes out whole.
    let tool = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let wanted = concat!("gradclip >= ", env!("CARGO_PKG_VERSION"));
    let reason = match Command::new(&tool).args(["--variable=libdir", wanted]).output() {
        Ok(output) if output.status.success() => {
            let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n'));
            if has(&folder, file) {
                return Ok(folder);
            }
            format!("it names {:?}, where there is no {}", folder, file)
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_string(),
        Err(error) => error.to_string(),
    };
    Err(Missing::Nowhere(format!(
        "libgradclip was not found: a program with this crate cannot be linked.\n\
         Install it: `make install` in its source tree, or unpack a released archive, which needs no Swift.\n\
         Then set PKG_CONFIG_PATH to the folder with gradclip.pc, or GRADCLIP_LIB_DIR to the one with {}.\n\
         Tried: GRADCLIP_LIB_DIR is not set; {:?} \"{}\": {}",
        file, tool, wanted, reason
    )))
}

fn has(folder: &Path, file: &str) -> bool {
    folder.join(file).exists()
}
