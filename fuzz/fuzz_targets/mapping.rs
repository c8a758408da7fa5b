//! Any spec against the way from a resource to the wire: see `mapping` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osproxy_directives_fuzz::mapping(bytes));
