//! What a NIC is to a program: queues, link, statistics, errors.
