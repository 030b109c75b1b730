// The join token: found in the address, taken out of it, shown to the server.

import assert from "node:assert/strict";
import { test } from "node:test";

import { acceptInvitation, bearing, claimsOf, tokenOf, withoutToken } from "../modules/invitation.js";
import { Memory } from "../modules/storage.js";

const encode = (claims) => `h.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.s`;

function visit(href, memory = new Memory(null)) {
  const shown = [];
  const said = acceptInvitation(memory, {
    location: { href },
    history: { replaceState: (state, title, url) => shown.push(url) },
  });
  return { said, shown, memory };
}

test("a token is found in the query and behind the #, where it is safer", () => {
  assert.equal(tokenOf("http://h/?room=R&token=a.b.c"), "a.b.c");
  assert.equal(tokenOf("http://h/?room=R#token=a.b.c"), "a.b.c");
  assert.equal(tokenOf("http://h/?token=old#token=new"), "new");
  for (const none of ["http://h/", "http://h/?token=", "http://h/?token=%20", "http://h/#x"]) assert.equal(tokenOf(none), null);
  assert.equal(tokenOf(`http://h/?token=${"x".repeat(9999)}`).length, 4096);
});

test("the address keeps everything but the token", () => {
  assert.equal(withoutToken("http://h/?room=R&token=a.b.c&name=N"), "http://h/?room=R&name=N");
  assert.equal(withoutToken("http://h/?room=R#token=a.b.c"), "http://h/?room=R");
  assert.equal(withoutToken("http://h/?token=x&token=y#token=z&a=1"), "http://h/#a=1");
  assert.equal(withoutToken("http://h/?room=R"), "http://h/?room=R");
});

test("the tab keeps the token, the address bar does not", () => {
  const token = encode({ room: "r1", name: "Åsa" });
  const { said, shown, memory } = visit(`http://h/?room=r1&token=${token}`);
  assert.deepEqual(said, { room: "r1", name: "Åsa" });
  assert.deepEqual(shown, ["http://h/?room=r1"]);
  assert.deepEqual(bearing(memory), { Authorization: `Bearer ${token}` });
  const again = visit("http://h/?room=r1", memory);
  assert.deepEqual(again.said, { room: "r1", name: "Åsa" });
  assert.deepEqual(again.shown, []);
});

test("what is no token says nothing and does no harm", () => {
  for (const token of ["x", "a.b", "a.!.c", encode(null), encode({ room: 7, name: {} }), encode([])]) {
    assert.deepEqual(claimsOf(token), { room: null, name: null });
  }
  assert.deepEqual(visit("http://h/").said, { room: null, name: null });
  assert.deepEqual(bearing(new Memory(null)), {});
});
