//! A recorded `unsafe fn` stays one: it is called in an `unsafe` block, and its body is checked as before.
#![deny(unsafe_op_in_unsafe_fn)]

/// # Safety
/// `value` is valid.
#[retrace::record]
unsafe fn read(value: *const u8) -> u8 {
    unsafe { *value }
}

#[retrace::record]
unsafe fn read_again(value: *const u8) -> u8 {
    *value
}

fn main() {
    read(&1);
    unsafe { read_again(&1) };
}
