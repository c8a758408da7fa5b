//! Both ends of osproxy's runtime diagnostics directives.
