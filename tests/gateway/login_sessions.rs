//! What a login leaves behind (facts/security.md, D11 to D15 and D20): sealed cookies, and tokens that are renewed once for everybody.
