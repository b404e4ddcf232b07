/// A user who may log in at `POST /api/login`.
#[derive(Clone, Copy, Debug)]
pub struct User {
    /// The `loginId`: an address.
    pub login_id: &'static str,
    /// Printed by the demo, so never a secret.
    pub password: &'static str,
    /// `sub`
    pub id: &'static str,
    /// The customer.
    pub org: &'static str,
    /// What the customer pays for.
    pub plan: &'static str,
    /// In the demo application.
    pub roles: &'static [&'static str],
}

/// A program that may ask for tokens by client credentials: in FusionAuth's words an entity.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// `client_id`
    pub id: &'static str,
    /// Printed by the demo, so never a secret.
    pub secret: &'static str,
    /// The customer.
    pub org: &'static str,
    /// What the customer pays for.
    pub plan: &'static str,
}

/// One user of each plan.
pub const USERS: [User; 3] = [
    User {
        login_id: "peter@initech.example",
        password: "password",
        id: "00000000-0000-0000-0000-000000000001",
        org: "initech",
        plan: "free",
        roles: &[],
    },
    User {
        login_id: "sol@soylent.example",
        password: "password",
        id: "00000000-0000-0000-0000-000000000002",
        org: "soylent",
        plan: "pro",
        roles: &["analyst"],
    },
    User {
        login_id: "gavin@hooli.example",
        password: "password",
        id: "00000000-0000-0000-0000-000000000003",
        org: "hooli",
        plan: "enterprise",
        roles: &["admin"],
    },
];

/// One program of each plan.
pub const CLIENTS: [Client; 3] = [
    Client { id: "c0000000-0000-4000-8000-000000000001", secret: "demo-secret", org: "initech", plan: "free" },
    Client { id: "c0000000-0000-4000-8000-000000000002", secret: "demo-secret", org: "soylent", plan: "pro" },
    Client { id: "c0000000-0000-4000-8000-000000000003", secret: "demo-secret", org: "hooli", plan: "enterprise" },
];
