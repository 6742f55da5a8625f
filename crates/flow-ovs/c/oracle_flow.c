/* Open vSwitch's own lib/flow.c under other names, so that it can be compiled once for each kind of hash and
 * called without going through the dynamic linker. RINGWAY_FLOW_C and the renaming come from build.rs. */
#include RINGWAY_FLOW_C
