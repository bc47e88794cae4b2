//! Access control of 5.x, users: `createUser`, `updateUser`, `deleteUser`, `getUser`, `listUser`, `copyUser`.

use std::fmt::Write as _;

use client::DefaultMqAdminExt;
use proto::body::UserInfo;
use serde_json::{Value, json};

use crate::commands::json_of;
use crate::target::Target;
use crate::text::or_null;
use crate::{Command, Failure, Output};

/// Creates a user on a broker, or on all brokers of a cluster: each keeps its own.
#[derive(clap::Args)]
pub(crate) struct CreateUser {
    #[command(flatten)]
    target: Target,
    /// Name
    #[arg(short = 'u', long = "username", value_name = "USER")]
    username: String,
    /// Secret that its requests are signed with
    #[arg(short = 'p', long = "password", value_name = "PASSWORD")]
    password: String,
    /// Super or Normal
    #[arg(short = 't', long = "userType", value_name = "TYPE")]
    user_type: Option<String>,
}

impl Command for CreateUser {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let user = UserInfo {
            username: Some(self.username.clone()),
            password: Some(self.password.clone()),
            user_type: self.user_type.clone(),
            user_status: None,
        };
        for addr in self.target.brokers(admin).await? {
            admin.create_user(&addr, &user).await?;
            done(out, "create user", &addr, &self.username)?;
        }
        Ok(())
    }
}

fn done(out: &mut Output, what: &str, addr: &str, username: &str) -> Result<(), Failure> {
    let json = json!({"done": what, "broker": addr, "username": username});
    out.say(format!("{what} to {addr} success."), json)
}

/// Changes what is given of a user.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args(["password", "user_type", "user_status"]))]
pub(crate) struct UpdateUser {
    #[command(flatten)]
    target: Target,
    /// Name
    #[arg(short = 'u', long = "username", value_name = "USER")]
    username: String,
    /// New secret
    #[arg(short = 'p', long = "password", value_name = "PASSWORD")]
    password: Option<String>,
    /// Super or Normal
    #[arg(short = 't', long = "userType", value_name = "TYPE")]
    user_type: Option<String>,
    /// enable or disable
    #[arg(short = 's', long = "userStatus", value_name = "STATUS")]
    user_status: Option<String>,
}

impl Command for UpdateUser {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let user = UserInfo {
            username: Some(self.username.clone()),
            password: self.password.clone(),
            user_type: self.user_type.clone(),
            user_status: self.user_status.clone(),
        };
        for addr in self.target.brokers(admin).await? {
            admin.update_user(&addr, &user).await?;
            done(out, "update user", &addr, &self.username)?;
        }
        Ok(())
    }
}

/// Deletes a user and its policies.
#[derive(clap::Args)]
pub(crate) struct DeleteUser {
    #[command(flatten)]
    target: Target,
    /// Name
    #[arg(short = 'u', long = "username", value_name = "USER")]
    username: String,
}

impl Command for DeleteUser {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        for addr in self.target.brokers(admin).await? {
            admin.delete_user(&addr, &self.username).await?;
            done(out, "delete user", &addr, &self.username)?;
        }
        Ok(())
    }
}

/// Shows a user, of a cluster as the first broker has it that knows it.
#[derive(clap::Args)]
pub(crate) struct GetUser {
    #[command(flatten)]
    target: Target,
    /// Name
    #[arg(short = 'u', long = "username", value_name = "USER")]
    username: String,
}

impl Command for GetUser {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        for addr in self.target.masters(admin).await? {
            if let Some(user) = admin.get_user(&addr, &self.username).await? {
                return show(out, &[user]);
            }
        }
        out.note(&format!("there is no user {}", self.username));
        Ok(())
    }
}

/// Lists users, of a cluster those of the first broker that has any.
#[derive(clap::Args)]
pub(crate) struct ListUser {
    #[command(flatten)]
    target: Target,
    /// Part of the name
    #[arg(short = 'f', long = "filter", value_name = "TEXT")]
    filter: Option<String>,
}

impl Command for ListUser {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        for addr in self.target.masters(admin).await? {
            let users = admin.list_user(&addr, self.filter.as_deref()).await?;
            if users.is_empty() {
                continue;
            }
            show(out, &users)?;
            if self.target.cluster_name.is_some() {
                out.text(&format!("get user from {addr} success."))?;
            }
            return Ok(());
        }
        Ok(())
    }
}

fn show(out: &mut Output, users: &[UserInfo]) -> Result<(), Failure> {
    let mut text = String::new();
    let mut row = |a: &str, b: &str, c: &str, d: &str| {
        let _ = writeln!(text, "{a:<16}  {b:<22}  {c:<22}  {d:<22}");
    };
    row("#UserName", "#Password", "#UserType", "#UserStatus");
    for user in users {
        let field = |value: &Option<String>| or_null(value.as_deref()).to_owned();
        row(
            &field(&user.username),
            &field(&user.password),
            &field(&user.user_type),
            &field(&user.user_status),
        );
    }
    let json: Vec<Value> = users.iter().map(|user| json_of(|bytes| user.write(bytes))).collect();
    out.say(text, json.into())
}

/// Copies users from one broker to another; those that are there are changed.
#[derive(clap::Args)]
pub(crate) struct CopyUser {
    /// From, host:port
    #[arg(short = 'f', long = "fromBroker", value_name = "ADDR")]
    from_broker: String,
    /// To, host:port
    #[arg(short = 't', long = "toBroker", value_name = "ADDR")]
    to_broker: String,
    /// Names, with commas between; without them all
    #[arg(short = 'u', long = "usernames", value_name = "USERS", value_delimiter = ',')]
    usernames: Vec<String>,
}

impl Command for CopyUser {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let (from, to) = (&self.from_broker, &self.to_broker);
        let mut users = Vec::new();
        if self.usernames.is_empty() {
            users = admin.list_user(from, None).await?;
        }
        for name in self.usernames.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
            match admin.get_user(from, name).await? {
                Some(user) => users.push(user),
                None => out.problem(Failure::Usage(format!("{from} has no user {name}"))),
            }
        }
        for user in users {
            let name = user.username.clone().unwrap_or_default();
            match admin.get_user(to, &name).await? {
                None => admin.create_user(to, &user).await?,
                Some(_) => admin.update_user(to, &user).await?,
            }
            out.say(
                format!("copy user of {name} from {from} to {to} success."),
                json!({"copied": name, "from": from, "to": to}),
            )?;
        }
        Ok(())
    }
}
