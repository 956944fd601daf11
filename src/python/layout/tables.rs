//! 2.7 and 3.6 to 3.12: constants.
