//! src/raw.rs says what include/gradclip.h says: every function with its types and
//! the names of its arguments, every constant, every struct. Both are read as text, so
//! that a declaration cannot be forgotten on either side.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {}", path.display(), error))
}

/// GRADCLIP_HEADER names another header than the checkout's.
fn header() -> String {
    let text = match std::env::var("GRADCLIP_HEADER") {
        Ok(path) => fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {}", path, error)),
        Err(_) => read("../../include/gradclip.h"),
    };
    without_comments(&text).replace("\\\n", " ") // a macro on two lines is one line
}

fn without_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("/*") {
        out.push_str(&rest[..start]);
        let end = rest[start..].find("*/").expect("a comment ends") + start + 2;
        out.push(' ');
        rest = &rest[end..];
    }
    out + rest
}

/// Rust source without `//` comments.
fn rust() -> String {
    read("src/raw.rs").lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// "float *const *grads" -> ("grads", "*const *mut f32"). Qualifiers bind to the left,
/// so the type is read from its name towards its base.
fn c_declaration(text: &str) -> (String, String) {
    let spaced = text.replace('*', " * ");
    let mut words: Vec<&str> = spaced.split_whitespace().collect();
    let name = words.pop().expect("a name").to_string();
    (name, c_type(&words))
}

fn c_type(words: &[&str]) -> String {
    // The pointers, from the base outwards: each is const if what it points to is.
    let mut base_const = false;
    let mut base = "";
    let mut pointers: Vec<bool> = Vec::new();
    let mut pointee_const = false;
    for word in words {
        match *word {
            "const" if base.is_empty() => base_const = true,
            "const" => pointee_const = true,
            "*" => {
                pointers.push(if pointers.is_empty() { base_const || pointee_const } else { pointee_const });
                pointee_const = false;
            }
            word => base = word,
        }
    }
    let base = match base {
        "float" => "f32",
        "double" => "f64",
        "void" => "c_void",
        "int" => "c_int",
        "char" => "c_char",
        "size_t" => "usize",
        "uint32_t" => "u32",
        "uint64_t" => "u64",
        "int32_t" => "i32",
        "int64_t" => "i64",
        other => other,
    };
    let pointers: String = pointers.iter().rev().map(|is_const| if *is_const { "*const " } else { "*mut " }).collect();
    pointers + base
}

/// name -> "name: type, ... -> type" of the header's functions.
fn c_functions(header: &str) -> BTreeMap<String, String> {
    let declarations: Vec<&str> =
        header.lines().filter(|line| !line.trim_start().starts_with('#') && !line.contains("extern \"C\"")).collect();
    let text = declarations.join("\n");
    let mut out = BTreeMap::new();
    for statement in text.split(';') {
        // What is left of an enum or a struct before it ends at its own ';'.
        let statement = squeeze(statement.rsplit(['{', '}']).next().unwrap());
        let open = match statement.find('(') {
            Some(open) if !statement.starts_with("typedef") => open,
            _ => continue,
        };
        let (name, result) = c_declaration(&statement[..open]);
        let arguments = statement[open + 1..].trim_end_matches(')');
        let arguments: Vec<String> = if arguments == "void" {
            Vec::new()
        } else {
            arguments
                .split(',')
                .map(|argument| {
                    let (n, t) = c_declaration(argument);
                    format!("{}: {}", n, t)
                })
                .collect()
        };
        let result = if result == "c_void" { String::new() } else { format!(" -> {}", result) };
        out.insert(name, format!("({}){}", arguments.join(", "), result));
    }
    out
}

fn rust_functions(source: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for piece in source.split("pub fn ").skip(1) {
        let piece = squeeze(&piece[..piece.find(';').expect("a declaration ends")]);
        let open = piece.find('(').unwrap();
        out.insert(piece[..open].to_string(), piece[open..].to_string());
    }
    out
}

#[test]
fn every_function_has_the_headers_types_and_argument_names() {
    let (c, rust) = (c_functions(&header()), rust_functions(&rust()));
    assert!(c.len() >= 40, "only {} functions found in the header", c.len());
    for (name, signature) in &c {
        assert_eq!(Some(signature), rust.get(name), "{}", name);
    }
    for name in rust.keys() {
        assert!(c.contains_key(name), "{} is not in the header", name);
    }
}

/// struct name -> its fields with their types, of typedef struct X { ... } X;
fn c_structs(header: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let mut out = BTreeMap::new();
    for piece in header.split("typedef struct ").skip(1) {
        let end = piece.find(';').unwrap();
        let open = match piece.find('{') {
            Some(open) if open < end => open,
            _ => continue, // opaque
        };
        let close = piece.find('}').unwrap();
        let fields = piece[open + 1..close].split(';').filter(|field| !field.trim().is_empty()).map(c_declaration);
        out.insert(piece[..open].trim().to_string(), fields.collect());
    }
    out
}

fn rust_structs(source: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let mut out = BTreeMap::new();
    for piece in source.split("#[repr(C)]").skip(1) {
        let start = piece.find("pub struct ").unwrap() + "pub struct ".len();
        let (open, close) = (piece.find('{').unwrap(), piece.find('}').unwrap());
        let fields = piece[open + 1..close].split(',').filter_map(|field| {
            let (name, kind) = field.trim().strip_prefix("pub ")?.split_once(':')?;
            Some((name.to_string(), squeeze(kind)))
        });
        out.insert(piece[start..open].trim().to_string(), fields.collect());
    }
    out
}

#[test]
fn every_struct_has_the_headers_fields_in_their_order() {
    let (c, mut rust) = (c_structs(&header()), rust_structs(&rust()));
    assert!(c.len() >= 4, "only {} structs found in the header", c.len());
    // Opaque ones have no fields to compare.
    rust.retain(|_, fields| !fields.is_empty());
    assert_eq!(c, rust);
}

/// typedef void (*name)(arguments); -> name and arguments, as Rust has them.
fn c_callbacks(header: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for piece in header.split("typedef ").skip(1) {
        let (result, piece) = match piece.split_once("(*") {
            Some((result, piece)) if !result.contains(['{', ';']) => (result.trim(), piece),
            _ => continue,
        };
        let result =
            if result == "void" { String::new() } else { format!(" -> {}", c_declaration(&format!("{} x", result)).1) };
        let (name, rest) = piece.split_once(')').unwrap();
        let arguments = rest[..rest.find(';').unwrap()].trim().trim_start_matches('(').trim_end_matches(')');
        let arguments: Vec<String> = arguments
            .split(',')
            .map(|argument| {
                let (n, t) = c_declaration(argument);
                format!("{}: {}", n, t)
            })
            .collect();
        out.insert(name.to_string(), arguments.join(", ") + &result);
    }
    out
}

fn rust_callbacks(source: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for piece in source.split("pub type ").skip(1) {
        let (name, rest) = piece.split_once('=').unwrap();
        let rest = squeeze(&rest[..rest.find(';').unwrap()]);
        if let Some(arguments) = rest.strip_prefix("Option<unsafe extern \"C\" fn(") {
            out.insert(name.trim().to_string(), arguments.trim_end_matches('>').replacen(')', "", 1));
        }
    }
    out
}

#[test]
fn every_callback_has_the_headers_arguments() {
    let c = c_callbacks(&header());
    assert!(!c.is_empty(), "no callback found in the header");
    assert_eq!(c, rust_callbacks(&rust()));
}

fn number(text: &str) -> i128 {
    match text.trim() {
        "UINT64_MAX" | "u64::MAX" => u64::MAX as i128,
        text => text.trim_end_matches(['u', 'U']).parse().unwrap_or_else(|_| panic!("{:?} is no number", text)),
    }
}

fn c_constants(header: &str) -> BTreeMap<String, i128> {
    let mut out = BTreeMap::new();
    for piece in header.split("enum {").skip(1) {
        for constant in piece[..piece.find('}').unwrap()].split(',').filter(|text| !text.trim().is_empty()) {
            let (name, value) = constant.split_once('=').unwrap_or_else(|| panic!("{:?} has no value", constant));
            out.insert(name.trim().to_string(), number(value));
        }
    }
    // Of the macros those that are one number; the rest is made of them.
    for line in header.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["#define", name, value] = words[..] {
            if value == "UINT64_MAX" || value.starts_with(|c: char| c.is_ascii_digit()) {
                out.insert(name.to_string(), number(value));
            }
        }
    }
    out
}

fn rust_constants(source: &str) -> BTreeMap<String, i128> {
    let mut out = BTreeMap::new();
    for piece in source.split("pub const ").skip(1) {
        let (name, rest) = piece.split_once(':').unwrap();
        let value = &rest[rest.find('=').unwrap() + 1..rest.find(';').unwrap()];
        out.insert(name.to_string(), number(value));
    }
    out
}

#[test]
fn every_constant_has_the_headers_value() {
    let c = c_constants(&header());
    assert!(c.len() >= 18, "only {} constants found in the header", c.len());
    assert_eq!(c, rust_constants(&rust()));
}

#[test]
fn the_crates_version_is_the_headers() {
    let c = c_constants(&header());
    let version = ["MAJOR", "MINOR", "PATCH"].map(|part| c[&format!("GRADCLIP_VERSION_{}", part)].to_string());
    assert_eq!(version.join("."), env!("CARGO_PKG_VERSION"));
}
