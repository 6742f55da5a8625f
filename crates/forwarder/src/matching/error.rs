//! Why a text is no match.

/// What is wrong with a match, and how it would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseMatchError {
    /// Nothing is asked for.
    #[error("an empty match takes every packet: write fields, as in tcp,tp_dst=80, or leave it out")]
    Empty,
    /// A word that is no protocol.
    #[error(
        "`{0}` is no protocol; there are {words}; a field has a value with it, as in tp_dst=80",
        words = super::fields::words()
    )]
    Word(String),
    /// No such field.
    #[error("there is no field `{0}`; there are {names}", names = super::fields::names())]
    Unknown(String),
    /// A field that packets have only inside a switch.
    #[error(
        "`{0}` is something that a switch knows of a packet, or does with it; packets from a port have none: leave it out"
    )]
    OfSwitch(String),
    /// A value that the field can't have.
    #[error("{field}={value}: {field} takes {expected}")]
    Value {
        /// The field, as it was named.
        field: String,
        /// What was given.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// A field without its protocol.
    #[error("{field} is a field of {words}, which the match doesn't ask for: write {example}")]
    Needs {
        /// The field.
        field: String,
        /// The protocols that have it.
        words: String,
        /// How it could be.
        example: String,
    },
    /// Two demands on one field.
    #[error(
        "{given} and what is beside it want different values of {field}: no packet has both; leave one out"
    )]
    Twice {
        /// The second one, as it was given.
        given: String,
        /// The field.
        field: String,
    },
    /// A VLAN tag that can't be.
    #[error(
        "{0}: no packet has that; 0x1000 says that there is a tag, and without one all is 0: write dl_vlan=5, or \
         vlan_tci=0x1005/0x1fff"
    )]
    Untagged(String),
    /// A demand that is for several ports, where there is one.
    #[error("in_port: a capture is of one port, and all its packets arrive there: leave it out")]
    OnePort,
}
