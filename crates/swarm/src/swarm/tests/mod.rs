//! What holds for the core as a whole: in small networks of several cores, and each policy as a
//! sentence.

mod caller_admission;
mod closing;
mod connecting;
mod contacts;
mod corruption_reports;
mod crowds;
mod desk;
mod downloading;
mod failing;
mod file_settings;
mod hedging;
mod hostile;
mod link_memory;
mod network;
mod offering;
mod resuming;
mod scenarios;
mod serving;
mod sharing;
mod young_swarm;
