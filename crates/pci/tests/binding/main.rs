//! Binding, status and doctor on a machine in a folder, without root.

mod bind;
mod doctor;
mod fake;
mod refusals;
mod status;
mod unbind;
