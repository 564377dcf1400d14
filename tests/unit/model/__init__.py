"""The guard searched exhaustively: every order in which moves, polls and renewals can come.

What is real. The guard's own functions decide every move: `window_refusals`, `trust_refusals`,
`unfinished`, `advance`, `pending_attempt`, and `peer_window` over the JSON of a peer's ledger. The
postures are those of `rotation.posture`, the files are written in `secrets.WRITE_ORDER`.

What is modelled. `mesh` says what a vault, istiods and proxies do; `moves` says what an `up` does
and when windows pass; `search` follows every step from every state until nothing new appears.
There is no bound on the number of moves: the search ends because there are no more states.

Five arguments make it finite. Each only adds behaviour or leaves it as it is, so that what the
search does not find cannot happen.

1. Sets instead of copies. Istiods and proxies do not influence each other, and the guard observes
   none of them. So the state keeps what an istiod *can* work with and what a proxy *can* hold, and
   each pair out of these sets is a pair that some mesh of two proxies and two istiods reaches.
   Handshakes concern pairs, so more proxies or replicas add nothing. `concrete` runs meshes of
   single istiods and proxies by the clock, and holds each of them against the sets.
2. Order instead of clocks. All that the guard and the mesh see of time is which windows have
   passed. Windows that begin one after the other also end one after the other; a chain window (P)
   ends before the trust window (W) that began with it; every other order is possible, whatever
   the lengths. So time passes by ending the oldest open window, and the result holds for all
   P < W.
3. Reads. A mount that is renewed at some moment can hold, for each of the four files by itself, any
   version that was readable within P: a poll reads the files one after the other, in any order,
   and slack bounds how long it takes. While an `up` is unfinished, all it has written so far and
   all it is to replace counts as readable. (So does a leaf that istiod signs while it reloads, with
   the signer of one set and the chain of another: security/pkg/server/ca/server.go.)
4. Dominance (`reduction`). What a newer entry of a window forbids anyway, an older one need not
   forbid once more. `test_guard_model` holds this against the real guard.
5. Names. Roots and issuers are interchangeable; states that differ in names only are one.

What it rests on. Restarts as evidence are taken at their word: every istiod works with the new
files, roots included, and no proxy holds anything older. A fleet runs one `up` at a time and
settles an interrupted one before another stack moves (`test_a_fleet_makes_one_move_at_a_time`
shows why). A mesh in `steady` whose windows have passed is where everything begins.

Not modelled: an `override`, which admits what the guard refuses; and trust that istiod pushes
between renewals (PCDS), which only adds to what a proxy trusts.
"""
