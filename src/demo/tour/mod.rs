mod page;
mod visit;

use std::io::Write;
use std::time::{Duration, Instant};

use http::Method;

pub use page::Ink;
use page::{Page, Tone};
pub use visit::TourError;
use visit::{Answer, Visitor};

use super::{APPLICATION_ID, Demo, ISSUER, MintRequest, USERS};

/// `free` gets this many calls a minute in the shipped rules.
const FREE_CALLS: usize = 60;
const LOOP_CALLS: usize = 65;
/// Only callers with the role `admin` see it, by the shipped rules.
const ADMIN_PATH: &str = "/v1/admin/orders";
const LEDGER_WITHIN: Duration = Duration::from_secs(5);
const READY_WITHIN: Duration = Duration::from_secs(10);

/// The guided tour: makes the calls itself, prints what came back, and fails if that is not what the shipped rules say.
pub struct Tour<'a> {
    /// `http://127.0.0.1:8080`
    pub gateway: &'a str,
    /// `http://127.0.0.1:9090`
    pub admin: &'a str,
    /// Signs the tokens.
    pub demo: &'a Demo,
    /// How the reader calls this program: `target/release/tollgate`.
    pub command: &'a str,
    /// What the reader types for the usage report, which has to name the demo's own ledger.
    pub usage_command: &'a str,
    /// What that prints.
    pub usage: &'a dyn Fn() -> String,
    /// How to print.
    pub ink: Ink,
}

/// Tokens of the tour, by the name of the shell variable that holds them in the printed lines.
struct Tokens {
    free: String,
    enterprise: String,
    busy: String,
    pro: String,
    admin: String,
    unlucky: String,
}

impl Tour<'_> {
    /// Waits until the gateway is ready and makes the tour. Blocks; not for async code.
    pub fn make(&self, out: &mut dyn Write) -> Result<(), TourError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.walk(&mut Page { out, ink: self.ink }))
    }

    async fn walk(&self, page: &mut Page<'_>) -> Result<(), TourError> {
        let visitor = Visitor::new(self.gateway)?;
        self.wait_until_ready(&visitor).await?;
        self.introduce(page)?;
        let tokens = self.tokens(page)?;
        self.without_a_token(page, &visitor).await?;
        self.by_plan(page, &visitor, &tokens).await?;
        self.until_throttled(page, &visitor, &tokens).await?;
        self.against_a_rule(page, &visitor, &tokens).await?;
        self.failing(page, &visitor, &tokens).await?;
        self.bill(page)?;
        self.metrics(page, &visitor).await?;
        self.farewell(page)
    }

    async fn wait_until_ready(&self, visitor: &Visitor) -> Result<(), TourError> {
        let started = Instant::now();
        loop {
            let said = match visitor.fetch(Method::GET, &format!("{}/readyz", self.admin), None).await {
                Ok(answer) if answer.status.is_success() => return Ok(()),
                Ok(answer) => format!("{} {}", answer.status.as_u16(), answer.body.trim()),
                Err(error) => error.to_string(),
            };
            if started.elapsed() > READY_WITHIN {
                return Err(TourError::NotReady { admin: self.admin.to_owned(), seconds: READY_WITHIN.as_secs(), said });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn introduce(&self, page: &mut Page<'_>) -> Result<(), TourError> {
        let services = &self.demo.services;
        let at = |address| format!("http://{address}");
        page.title("tollgate demo", "A DEMO: throw-away keys, tokens for everybody, loopback only")?;
        page.who("gateway", self.gateway, "the shipped config.yaml and rules/")?;
        page.who("admin", self.admin, "for operators: /metrics /status /readyz")?;
        let issuer = format!("shaped like FusionAuth; tokens say iss {ISSUER}, not this URL");
        page.who("issuer", &self.demo.issuer.url(), &issuer)?;
        page.who("orders", &at(services.orders()), "answers /v1/orders for the plans free and pro")?;
        page.who("reports", &at(services.reports()), "answers /v1/reports for them")?;
        page.who("dedicated", &at(services.dedicated()), "answers both for the plan enterprise")?;
        Ok(page.blank()?)
    }

    fn tokens(&self, page: &mut Page<'_>) -> Result<Tokens, TourError> {
        page.heading(0, "Tokens, to try every line below yourself")?;
        let issuer = self.demo.issuer.url();
        let elsewhere = if issuer.ends_with(":9011") { String::new() } else { format!(" --issuer-url {issuer}") };
        let mut take = |variable: &str, org: &str, plan: &str, role: Option<&str>| -> Result<String, TourError> {
            let mut request = MintRequest::of(org, plan);
            let mut flags = format!("--plan {plan} --org {org}");
            if let Some(role) = role {
                request = request.role(role);
                flags.push_str(&format!(" --role {role}"));
            }
            page.command(&format!("{variable}=$({} token mint {flags}{elsewhere})", self.command))?;
            Ok(self.demo.issuer.mint(&request)?)
        };
        let tokens = Tokens {
            free: take("FREE", "initech", "free", None)?,
            enterprise: take("ENTERPRISE", "hooli", "enterprise", None)?,
            busy: take("BUSY", "globex", "free", None)?,
            pro: take("PRO", "soylent", "pro", None)?,
            admin: take("ADMIN", "soylent", "pro", Some("admin"))?,
            unlucky: take("UNLUCKY", "vandelay", "pro", None)?,
        };
        page.blank()?;
        Ok(tokens)
    }

    async fn without_a_token(&self, page: &mut Page<'_>, visitor: &Visitor) -> Result<(), TourError> {
        page.heading(1, "Without a token nothing gets through")?;
        let answer = visitor.call(Method::GET, "/v1/orders", None).await?;
        page.command(&format!("curl -i {}/v1/orders", self.host()))?;
        page.answer(answer.status.as_u16(), &answer.member("reason"), answer.header("www-authenticate"))?;
        answer.refused(401, "token_required")
    }

    async fn by_plan(&self, page: &mut Page<'_>, visitor: &Visitor, tokens: &Tokens) -> Result<(), TourError> {
        page.heading(2, "The plan in the token decides where a request lands")?;
        for (variable, token, service) in [("FREE", &tokens.free, "orders"), ("ENTERPRISE", &tokens.enterprise, "dedicated")] {
            let answer = visitor.call(Method::GET, "/v1/orders", Some(token)).await?;
            page.command(&self.curl("", variable, "/v1/orders"))?;
            self.served(page, &answer)?;
            answer.served_by(service)?;
        }
        Ok(())
    }

    async fn until_throttled(&self, page: &mut Page<'_>, visitor: &Visitor, tokens: &Tokens) -> Result<(), TourError> {
        page.heading(3, &format!("{FREE_CALLS} calls a minute are free, for all users of a customer together"))?;
        let once = self.curl("\\\n  ", "BUSY", "/v1/orders");
        let once = once.replacen("curl ", "curl -so /dev/null -w '%{http_code} ' ", 1);
        page.command(&format!("for call in $(seq {LOOP_CALLS}); do {once}; done"))?;
        let mut passed = 0;
        let mut refused = None;
        for _ in 0..LOOP_CALLS {
            let answer = visitor.call(Method::GET, "/v1/orders", Some(&tokens.busy)).await?;
            if answer.status.is_success() {
                passed += 1;
            } else {
                answer.refused(429, "rate_limited")?;
                refused = Some(answer);
            }
        }
        let Some(refused) = refused.filter(|_| passed == FREE_CALLS) else {
            return Err(TourError::Unexpected {
                what: format!("{LOOP_CALLS} calls in a row on the plan free"),
                wanted: format!("{FREE_CALLS} to pass and the others to be refused"),
                got: format!("{passed} passed"),
            });
        };
        let bar = |tone, calls| page.toned(tone, &"▮".repeat(calls));
        let bar = format!("{}{}", bar(Tone::Good, passed), bar(Tone::Refused, LOOP_CALLS - passed));
        page.text(&bar)?;
        page.text(&format!("{passed} passed, then:"))?;
        let wait = refused.header("retry-after");
        if wait.parse::<u64>().is_err() {
            return Err(refused.unexpected("Retry-After in seconds".to_owned()));
        }
        let detail = format!("retry-after: {wait}   ratelimit: {}", refused.header("ratelimit"));
        page.answer(refused.status.as_u16(), &refused.member("reason"), &detail)?;
        Ok(())
    }

    async fn against_a_rule(&self, page: &mut Page<'_>, visitor: &Visitor, tokens: &Tokens) -> Result<(), TourError> {
        page.heading(4, "A rule says no, and why")?;
        let answer = visitor.call(Method::POST, "/v1/reports", Some(&tokens.free)).await?;
        page.command(&self.curl("-X POST ", "FREE", "/v1/reports"))?;
        page.answer(answer.status.as_u16(), &answer.member("reason"), "the plan free reads reports, it does not order them")?;
        answer.refused(403, "plan_upgrade_required")?;

        let answer = visitor.call(Method::GET, ADMIN_PATH, Some(&tokens.pro)).await?;
        page.command(&self.curl("", "PRO", ADMIN_PATH))?;
        page.answer(answer.status.as_u16(), &answer.member("reason"), "")?;
        answer.refused(403, "admin_role_required")?;

        let answer = visitor.call(Method::GET, ADMIN_PATH, Some(&tokens.admin)).await?;
        page.command(&self.curl("", "ADMIN", ADMIN_PATH))?;
        self.served(page, &answer)?;
        answer.served_by("orders")
    }

    async fn failing(&self, page: &mut Page<'_>, visitor: &Visitor, tokens: &Tokens) -> Result<(), TourError> {
        page.heading(5, "When our own service fails, the customer does not pay")?;
        let answer = visitor.call(Method::GET, "/v1/orders/fail", Some(&tokens.unlucky)).await?;
        page.command(&self.curl("", "UNLUCKY", "/v1/orders/fail"))?;
        page.answer(answer.status.as_u16(), &answer.member("error"), "vandelay is not on the bill below")?;
        if answer.status.as_u16() == 500 { Ok(()) } else { Err(answer.unexpected("the 500 of the orders service".to_owned())) }
    }

    fn bill(&self, page: &mut Page<'_>) -> Result<(), TourError> {
        page.heading(6, "Who owes what")?;
        let words = ["initech", "hooli", "globex", "soylent", "api_calls", "egress_bytes"];
        // The ledger commits in groups, milliseconds after the last call, or as soon as a busy disk lets it.
        let calls = format!(" {FREE_CALLS}\n");
        let is_whole = |usage: &str| usage.contains(&calls) && words.iter().all(|word| usage.contains(word));
        let asked = std::time::Instant::now();
        let usage = loop {
            let usage = (self.usage)();
            if is_whole(&usage) || asked.elapsed() > LEDGER_WITHIN {
                break usage;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        page.command(self.usage_command)?;
        page.text(&usage)?;
        page.blank()?;
        let unexpected = |wanted: &str| TourError::Unexpected {
            what: "the usage report".to_owned(),
            wanted: wanted.to_owned(),
            got: usage.clone(),
        };
        for word in words {
            if !usage.contains(word) {
                return Err(unexpected(word));
            }
        }
        if usage.contains("vandelay") {
            return Err(unexpected("nothing of vandelay, whose only call failed on our side"));
        }
        Ok(())
    }

    async fn metrics(&self, page: &mut Page<'_>, visitor: &Visitor) -> Result<(), TourError> {
        page.heading(7, "The same for Prometheus")?;
        let answer = visitor.fetch(Method::GET, &format!("{}/metrics", self.admin), None).await?;
        let names = ["tollgate_http_requests_total", "tollgate_throttle_decisions_total", "tollgate_meter_api_calls_total"];
        page.command(&format!("curl -s {}/metrics | grep -E '^tollgate_(http_requests|throttle|meter)'", bare(self.admin)))?;
        for name in names {
            let happened = |line: &&str| line.starts_with(name) && !line.ends_with(" 0");
            let mut lines = answer.body.lines().filter(happened).peekable();
            if lines.peek().is_none() {
                return Err(answer.unexpected(format!("{name} above zero")));
            }
            for line in lines.take(4) {
                page.text(line)?;
            }
        }
        page.blank()?;
        Ok(())
    }

    fn farewell(&self, page: &mut Page<'_>) -> Result<(), TourError> {
        page.heading(8, "Now you: the demo stays up until Ctrl-C")?;
        let [.., user] = USERS;
        let login = format!(
            r#"'{{"applicationId":"{APPLICATION_ID}",
  "loginId":"{}","password":"{}"}}'"#,
            user.login_id, user.password
        );
        let issuer = self.demo.issuer.url();
        page.command(&format!("curl {}/api/login -d {login}", bare(&issuer)))?;
        page.command(&format!("{} explain 'POST /v1/reports' --claims '{{\"plan\":\"free\"}}'", self.command))?;
        page.command(&format!("curl {}/status", bare(self.admin)))?;
        page.blank()?;
        page.text("Change a file in rules/ and save it: it counts from then on, or you read here why not.")?;
        page.blank()?;
        Ok(())
    }

    fn served(&self, page: &mut Page<'_>, answer: &Answer) -> Result<(), TourError> {
        let seen = |name: &str| format!("{name}: {}", answer.member(name));
        let detail = ["x-org", "x-plan"].map(seen).join("   ");
        page.answer(answer.status.as_u16(), &format!("by {}", answer.member("service")), &detail)?;
        Ok(())
    }

    fn curl(&self, options: &str, variable: &str, path: &str) -> String {
        format!(r#"curl {options}-H "authorization: Bearer ${variable}" {}{path}"#, self.host())
    }

    fn host(&self) -> &str {
        bare(self.gateway)
    }
}

fn bare(url: &str) -> &str {
    url.trim_start_matches("http://")
}
