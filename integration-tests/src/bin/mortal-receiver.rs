//! A receiver in a process of its own, to be killed: `mortal-receiver FILE HOST:PORT`. Says where it listens.

use std::error::Error;
use std::io::{Read as _, Write as _};

use retrace_local::Server;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let db = arguments.next().ok_or("which file?")?;
    let addr = arguments.next().ok_or("which address?")?.parse()?;
    let server = Server::builder().with_db(db).with_addr(addr).start()?;
    writeln!(std::io::stdout(), "{}", server.addr())?;
    // Until whoever started it is gone.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
