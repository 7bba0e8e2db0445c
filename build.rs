//! Embeds migrations anew when one is added: cargo does not see a new file in a folder that only a macro reads.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
