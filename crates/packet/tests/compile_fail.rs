//! What must not compile: each file in `compile-fail` breaks one rule, and the compiler's answer is beside it.

#[test]
#[cfg_attr(miri, ignore = "it runs the compiler")]
fn what_breaks_a_rule_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile-fail/*.rs");
}
