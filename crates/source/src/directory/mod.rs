//! File trees: [`scan()`] walks them in path order while they change, [`Target`] writes them back and never
//! outside.
//!
//! Both work on directory descriptors and single names, so no path is looked up twice from the top and no
//! symbolic link is ever followed below what the user named.

mod apply;
mod attributes;
mod beneath;
mod excludes;
mod folder;
mod found;
mod ignore;
mod image;
mod listing;
mod marks;
mod onto;
mod roots;
mod scan;
mod sink;
mod status;
mod xattrs;

pub use apply::{Existing, Ownership, PART_PREFIX, Target};
pub use attributes::{Attribute, Shortfall};
pub use excludes::Excludes;
pub use found::{Found, Identity, Reader, Stretch};
pub use image::Images;
pub use marks::Marks;
pub use onto::Onto;
pub use scan::{Item, Problem, Reason, Scan, Selection, Skipped, scan};
pub use sink::{FileSink, Parked};
pub use xattrs::FLAGS;

#[cfg(test)]
mod tests;
