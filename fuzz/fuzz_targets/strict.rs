//! Any bytes against the strict parse: see `strict` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osproxy_directives_fuzz::strict(bytes));
