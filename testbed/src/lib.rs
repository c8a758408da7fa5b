//! Real servers on loopback for the tests, the demo and the playground.
