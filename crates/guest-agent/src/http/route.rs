//! Which command a method and a path mean.

use hyper::Method;

/// What is asked for. `Other` is everything that is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    AddHost,
    /// Switches reporting on or off; a path that does not say which is [`Route::SwitchHostBare`].
    SwitchHost(bool),
    SwitchHostBare,
    GetHost,
    DeleteHost,
    AddInstance,
    SwitchInstance,
    GetInstance,
    DeleteInstance,
    Vote,
    Notify,
}

/// A route and the identifier in its path, as it stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) route: Route,
    pub(super) id: &'a str,
}

/// Why a method and a path mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Miss {
    /// There is no such path.
    Path,
    /// The path has no such method, but these.
    Method(&'static str),
}

/// Finds the route. The query is no part of `path`.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Result<Target<'a>, Miss> {
    let rest = path.strip_prefix("/v1/").ok_or(Miss::Path)?;
    let mut parts = rest.split('/');
    let (Some(collection), Some(id)) = (parts.next(), parts.next()) else { return Err(Miss::Path) };
    let action = parts.next();
    if id.is_empty() || parts.next().is_some() {
        return Err(Miss::Path);
    }
    let route = match (collection, action) {
        ("hosts", None) => host(method)?,
        ("hosts", Some("enable")) => host_switch(method, true)?,
        ("hosts", Some("disable")) => host_switch(method, false)?,
        ("instances", None) => instance(method)?,
        ("instances", Some("vote")) => action_route(method, Route::Vote)?,
        ("instances", Some("notify")) => action_route(method, Route::Notify)?,
        _ => return Err(Miss::Path),
    };
    Ok(Target { route, id })
}

fn host(method: &Method) -> Result<Route, Miss> {
    match *method {
        Method::POST => Ok(Route::AddHost),
        Method::GET => Ok(Route::GetHost),
        Method::DELETE => Ok(Route::DeleteHost),
        // Known so that it is refused as what it is: a switch that does not say which way.
        Method::PUT => Ok(Route::SwitchHostBare),
        _ => Err(Miss::Method("DELETE, GET, POST, PUT")),
    }
}

fn host_switch(method: &Method, reporting: bool) -> Result<Route, Miss> {
    match *method {
        Method::PUT => Ok(Route::SwitchHost(reporting)),
        Method::GET => Ok(Route::GetHost),
        _ => Err(Miss::Method("GET, PUT")),
    }
}

fn instance(method: &Method) -> Result<Route, Miss> {
    match *method {
        Method::POST => Ok(Route::AddInstance),
        Method::PATCH => Ok(Route::SwitchInstance),
        Method::GET => Ok(Route::GetInstance),
        Method::DELETE => Ok(Route::DeleteInstance),
        _ => Err(Miss::Method("DELETE, GET, PATCH, POST")),
    }
}

fn action_route(method: &Method, route: Route) -> Result<Route, Miss> {
    match *method {
        Method::POST => Ok(route),
        _ => Err(Miss::Method("POST")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_are_nothing() {
        for path in [
            "",
            "/",
            "*",
            "/v1",
            "/v1/",
            "/v1/hosts",
            "/v1/hosts/",
            "/v1/hosts//enable",
            "/v1/hosts/x/",
            "/v1/hosts/x/vote",
            "/v1/hosts/x/enable/",
            "/v1/hosts/x/enable/y",
            "/v1/instances/x/enable",
            "/v1/instances/x/Vote",
            "/v1/guests/x",
            "/v2/hosts/x",
            "//v1/hosts/x",
            "v1/hosts/x",
        ] {
            assert_eq!(find(&Method::GET, path), Err(Miss::Path), "{path}");
        }
    }

    #[test]
    fn the_identifier_is_what_stands_in_the_path() {
        let target = find(&Method::PUT, "/v1/hosts/%7Bx%7D/disable").unwrap();
        assert_eq!(target, Target { route: Route::SwitchHost(false), id: "%7Bx%7D" });
    }
}
