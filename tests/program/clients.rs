//! Clients that do not wait for their answer.

use tokio::io::AsyncWriteExt;

use super::rows::Rows;
use super::wire::raw_login;
use crate::support::get_mobile::GetMobile;
use crate::support::program::{Setup, eventually};

#[tokio::test]
async fn a_client_that_goes_away_after_its_request_still_gets_its_session() {
    let peer = GetMobile::start().await;
    let setup = peer.verifies_for(Setup::new().patient());
    let program = setup.start().await;
    let rows = Rows::Sqlite(setup.sqlite_file());
    let tokens: Vec<String> = (0..20).map(|n| format!("held-139000000{n:02}-gone")).collect();
    for token in &tokens {
        let mut client = program.connect().await;
        client.write_all(&raw_login(token)).await.unwrap();
        peer.wait_for(token).await;
        assert_eq!(rows.sessions_of_token(token).await, 0, "the peer has not answered");
        // With an unread answer outstanding this is a reset, as from a phone that lost its network.
        client.set_zero_linger().unwrap();
    }
    peer.release(tokens.len());
    for token in &tokens {
        eventually("written", async || (rows.sessions_of_token(token).await == 1).then_some(())).await;
    }
    assert_eq!(rows.users().await, 20);
    assert_eq!(program.log_in("ok-13900000001-next").await.status, 200, "nothing was leaked");
    peer.assert_clean();
}
