//! Pseudo-variables: what a script reads and writes of the message, its targets, the network, and
//! its own stores. Names and meaning are Kamailio's.
//!
//! Values are those of the message as received, except for the target set: changes of header
//! fields are seen by whoever receives the message, or after `msg_apply_changes()`.

pub mod avp;
pub(crate) mod branch;
mod function;
mod header;
mod network;
mod party;
mod record;
mod select;
pub(crate) mod store;
pub(crate) mod time;
pub(crate) mod uri;
mod via;
pub mod xavp;

use crate::script::ParamType;

use super::entry::{join, param, total};
use super::{Function, Module, Param, ParamError, Variable};

pub use avp::{Avps, Stored};
pub(super) use header::credential_of;
pub use store::Variables;

/// The module's table.
pub const MODULE: Module = Module {
    name: "pv",
    doc: "Pseudo-variables and their functions.",
    planned: false,
    functions: &FUNCTIONS,
    variables: &VARIABLES,
    params: &PARAMS,
    commands: &super::rpc::shv::SHV,
    ..super::EMPTY
};

const FUNCTION_PARTS: [&[Function]; 2] = [&function::FUNCTIONS, &record::FUNCTIONS];
const FUNCTIONS: [Function; total(&FUNCTION_PARTS)] = join(&FUNCTION_PARTS);

const PARTS: [&[Variable]; 11] = [
    &uri::VARIABLES,
    &party::VARIABLES,
    &header::VARIABLES,
    &network::VARIABLES,
    &branch::VARIABLES,
    &avp::VARIABLES,
    &xavp::VARIABLES,
    &store::VARIABLES,
    &time::VARIABLES,
    &select::VARIABLES,
    &via::VARIABLES,
];

const VARIABLES: [Variable; total(&PARTS)] = join(&PARTS);

/// Parameters of `pv`.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `shvset`: variables of all shards and their values at start.
    pub shared: Vec<(Box<[u8]>, Stored)>,
    /// `varset`: the same for `$var`.
    pub vars: Vec<(Box<[u8]>, Stored)>,
    /// `avp_aliases`: other names of AVPs, and what they are called.
    pub avp_aliases: Vec<NameAlias>,
}

/// Another name of an AVP, and what it is called.
pub type NameAlias = (Box<[u8]>, Box<[u8]>);

impl Config {
    /// The AVP that a script calls so.
    pub fn avp<'a>(&'a self, name: &'a [u8]) -> &'a [u8] {
        let mut all = self.avp_aliases.iter().rev();
        let found = all.find(|(alias, _)| **alias == *name);
        found.map_or(name, |(_, real)| real)
    }
}

const PARAMS: [Param; 3] = [
    param(
        "shvset",
        ParamType::Str,
        "",
        (
            |c, v| assignment(v.text()).map(|entry| c.pv.shared.push(entry)),
            "A shared variable and its value: name=i:1 or name=s:text.",
        ),
    ),
    param(
        "varset",
        ParamType::Str,
        "",
        (
            |c, v| assignment(v.text()).map(|entry| c.pv.vars.push(entry)),
            "A script variable and its value: name=i:1 or name=s:text.",
        ),
    ),
    param(
        "avp_aliases",
        ParamType::Str,
        "",
        (
            |c, v| {
                let text = v.text().unwrap_or_default();
                aliases(text).map(|all| c.pv.avp_aliases.extend(all))
            },
            "Other names for AVPs: alias=name;alias=i:10.",
        ),
    ),
];

/// `alias=name`, `alias=s:name` or `alias=i:number`, with semicolons between them.
fn aliases(text: &[u8]) -> Result<Vec<NameAlias>, ParamError> {
    const WANTED: ParamError = ParamError("alias=name or alias=i:number, with ; between them");
    let text = text.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let one = |part: &[u8]| {
        let at = part.iter().position(|b| *b == b'=').ok_or(WANTED)?;
        let (alias, name) = (part[..at].trim_ascii(), part[at + 1..].trim_ascii());
        let is_name = match name {
            [b'i', b':', digits @ ..] => crate::script::parse_int(digits).is_some(),
            [b's', b':', name @ ..] | name => !name.is_empty(),
        };
        match !alias.is_empty() && is_name {
            true => Ok((alias.into(), name.into())),
            false => Err(WANTED),
        }
    };
    text.split(|b| *b == b';').map(one).collect()
}

/// `name=i:1` or `name=s:text`.
fn assignment(text: Option<&[u8]>) -> Result<(Box<[u8]>, Stored), ParamError> {
    const WANTED: ParamError = ParamError("name=i:number or name=s:text");
    let text = text.ok_or(WANTED)?;
    let at = text
        .iter()
        .position(|b| *b == b'=')
        .filter(|at| *at > 0)
        .ok_or(WANTED)?;
    let value = match &text[at + 1..] {
        [b's' | b'S', b':', text @ ..] => Stored::Text(text.into()),
        [b'i' | b'I', b':', digits @ ..] => {
            Stored::Int(crate::script::parse_int(digits).ok_or(WANTED)?)
        }
        _ => return Err(WANTED),
    };
    Ok((text[..at].trim_ascii().into(), value))
}

#[cfg(test)]
mod tests {
    use crate::modules::sample::{INVITE, run, value};

    #[test]
    fn avps_have_other_names() {
        let parameter = "modparam(\"pv\", \"avp_aliases\", \"voice=s:box;num=i:10 ; q=x;\")";
        let statements = "$avp(voice) = \"a\"; $avp(num) = \"b\"; $avp(q) = \"c\"; $avp(q) = \"d\";
            xlog(\"$avp(s:box) $avp(box) $avp(voice) $avp(i:10) $avp(num) $avp(s:num)\");
            xlog(\"$avp(x) $(avp(q)[1]) $(avp(q)[*]) $cnt($avp(q))\");
            $avp(q) = $null; xlog(\"$avp(x)\");";
        let ran = crate::modules::sample::run_with(parameter, statements, INVITE);
        assert_eq!(ran.lines, ["a a a b b <null>", "d c d, c 2", "c"]);
        for text in ["a", "a=", "=b", "a=b;;c=d", "a=i:b", "a=s:"] {
            assert!(super::aliases(text.as_bytes()).is_err(), "{text}");
        }
    }

    const RESPONSE: &str = "SIP/2.0 180 Ringing\r\n\
        Via: SIP/2.0/UDP 192.0.2.100;branch=z9hG4bKa\r\n\
        From: <sip:a@a.test>;tag=1\r\n\
        To: \"B\" <sip:b@b.test>;tag=2\r\n\
        Call-ID: c\r\n\
        CSeq: 1 INVITE\r\n\
        Content-Length: 0\r\n\r\n";

    #[test]
    fn what_a_request_reads() {
        let table = [
            ("$ru", "sip:bob;x=y@home.test:5061;transport=tcp;p=1"),
            (
                "$rU|$rUl|$rd|$rp|$rP|$rz",
                "bob;x=y|7|home.test|5061|tcp|sip",
            ),
            ("$ruri.user|$ruri.domain", "bob;x=y|home.test"),
            ("$ou", "sip:bob;x=y@home.test:5061;transport=tcp;p=1"),
            ("$oU|$od|$op|$oP", "bob;x=y|home.test|5061|tcp"),
            ("$du|$dd|$dp|$dP|$ds", "<null>|<null>|<null>|<null>|<null>"),
            ("$nh(U)|$nh(d)|$nh(p)|$nh(P)", "bob;x=y|home.test|5061|tcp"),
            (
                "$rm|$rmid|$rv|$rs|$rr|$mt",
                "INVITE|1|SIP/2.0|<null>|<null>|1",
            ),
            ("$fu|$fU|$fd", "sip:alice@a.test:5066;y=2|alice|a.test"),
            ("$from.user|$from.domain", "alice|a.test"),
            ("$fn|$ft", "\"Alice, A.\"|77"),
            (
                "$tu|$tU|$td|$tn|$tt",
                "sip:bob@home.test|bob|home.test|<null>|<null>",
            ),
            ("$fti|$tti", "77|<null>"),
            ("$ci|$cs|$csb", "call-1@a.test|314|314 INVITE"),
            (
                "$ct",
                "<sip:alice@192.0.2.1:5062>;expires=60, <sip:alice@192.0.2.2>;expires=30",
            ),
            ("$cT|$cl|$ua", "application/sdp; charset=x|15|Sample/1"),
            (
                "$hdr(X-Multi)|$hdr(M)",
                "one|<sip:alice@192.0.2.1:5062>;expires=60, <sip:alice@192.0.2.2>;expires=30",
            ),
            ("$(hdr(X-Multi)[1])|$(hdr(X-Multi)[-1])", "two|three"),
            (
                "$(hdr(X-Multi)[*])|$(hdr(X-Multi)[5])",
                "one,two,three|<null>",
            ),
            ("$(hdr(Nope)[*])|$hdr(Nope)", "<null>|<null>"),
            ("$hdrc(X-Multi)|$hdrc(Via)|$hdrc(v)|$hdrc(Nope)", "3|1|1|0"),
            (
                "$hfl(Via)",
                "SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bKa;rport",
            ),
            ("$(hfl(Via)[1])", "SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKb"),
            ("$hflc(Via)|$hflc(Contact)|$hflc(X-Multi)", "2|2|3"),
            ("$pu|$pU|$pd|$pn", "sip:pref@p.test|pref|p.test|Pref"),
            (
                "$ai|$re|$rt",
                "sip:+1234@a.test|sip:rpid@r.test|sip:refer@r.test",
            ),
            ("$di|$dip|$dir|$dic", "sip:div@d.test|off|no-answer|2"),
            ("$au|$ar|$ad|$adu|$aU", "u|r, x|dom.test|sip:x|u@dom.test"),
            ("$aa|$adn|$adc|$adr|$ado", "MD5|n1|c1|0011|o1"),
            ("$Au|$AU", "alice@a.test|alice"),
            ("$expires(min)|$expires(max)", "30|60"),
            ("$rb|$bs", "v=0\r\na=active\r\n|15"),
            (
                "$msg(fline)",
                "INVITE sip:bob;x=y@home.test:5061;transport=tcp;p=1 SIP/2.0",
            ),
            (
                "$si|$sp|$siz|$sas",
                "192.0.2.1|5062|192.0.2.1|udp:192.0.2.1:5062",
            ),
            (
                "$su|$sut",
                "sip:192.0.2.1:5062|sip:192.0.2.1:5062;transport=udp",
            ),
            (
                "$Ri|$Rp|$Rn|$Ras",
                "192.0.2.100|5060|out|udp:192.0.2.100:5060",
            ),
            (
                "$Ru|$Rut",
                "sip:192.0.2.100:5060|sip:192.0.2.100:5060;transport=udp",
            ),
            ("$RAi|$RAp|$RAu", "192.0.2.50|5070|sip:192.0.2.50:5070"),
            ("$pr|$proto|$prid|$conid", "udp|udp|1|<null>"),
            ("$af(id)|$af(name)|$fs|$fsn", "2|IPv4|<null>|<null>"),
            (
                "$mf|$mF|$bf|$bF|$sf|$sF",
                "0|00000000|0|00000000|0|00000000",
            ),
            (
                "$br|$bR|$branch(count)|$branch(uri)",
                "<null>|<null>|<null>|<null>",
            ),
            ("$sid|$pp|$K(IPv6)|$K(TCP)", "7|3|10|2"),
            ("$sruid", "srid-7-6553f100-3-1"),
            ("$Ts|$Tb|$TV(Sn)", "1709251199|1700000000|1709251199.000123"),
            ("$Tf|$timef(%F)", "Thu Feb 29 23:59:59 2024|2024-02-29"),
            ("$time(mon)|$time(wday)|$utime(yday)", "2|5|60"),
            ("$T_branch_idx|$T_reply_code|$T(id_index)", "0|0|<null>"),
            ("$shv(shared)|$var(none)|$vn(none)", "4|0|<null>"),
            ("$rdir(name)|$rdir(id)", "downstream|1"),
            (
                "$via0(host)|$via0(port)|$via0(branch)",
                "192.0.2.1|5062|z9hG4bKa",
            ),
            (
                "$via1(hostport)|$via1(proto)|$viaZ(host)",
                "192.0.2.9|TCP|192.0.2.9",
            ),
            ("$msgbuf(0)|$msgbuf(2)|$msgbuf(99999)", "I|V|<null>"),
            (
                "$cfg(route)|$cfg(name)|$err.class",
                "DEFAULT_ROUTE|text|<null>",
            ),
            ("$sbranch(uri)|$sbranch(q)", "<null>|<null>"),
        ];
        for (format, want) in table {
            assert_eq!(value("", format, INVITE), want, "{format}");
        }
    }

    #[test]
    fn what_a_response_reads() {
        let table = [
            ("$rm|$rs|$rr|$mt", "INVITE|180|Ringing|2"),
            (
                "$ru|$rU|$ou|$nh(u)|$du",
                "<null>|<null>|<null>|<null>|<null>",
            ),
            ("$tn|$tt|$ft", "\"B\"|2|1"),
            ("$T_branch_idx|$T_reply_code", "-1|180"),
            ("$rb|$cl", "|0"),
        ];
        for (format, want) in table {
            assert_eq!(value("", format, RESPONSE), want, "{format}");
        }
    }

    #[test]
    fn what_assignments_do() {
        let table = [
            (
                "$ru = \"sip:x\";",
                "$ru|$rU|$rd|$rp|$rP|$ou",
                "sip:x|<null>|x|5060|UDP|sip:bob;x=y@home.test:5061;transport=tcp;p=1",
            ),
            (
                "$ru = \"nonsense\"; $rU = \"x\";",
                "$ru|$rU|$rd|$rp",
                "<null>|<null>|<null>|<null>",
            ),
            ("$ru = \"sips:x.test\";", "$rp|$rP", "5060|UDP"),
            ("$ru = \"sip:x.test;transport=tls\";", "$rp|$rP", "5061|tls"),
            (
                "$ru = \"tel:+1-23;x=1\";",
                "$rU|$rd|$rz",
                "+1-23|<null>|tel",
            ),
            (
                "$rU = \"carol\";",
                "$ru",
                "sip:carol@home.test:5061;transport=tcp;p=1",
            ),
            (
                "$rU = $null;",
                "$ru|$rU",
                "sip:home.test:5061;transport=tcp;p=1|<null>",
            ),
            ("$rU = \"a@b c\";", "$rU", "bob;x=y"),
            (
                "$rd = \"d.test\"; $rp = 5099;",
                "$ru",
                "sip:bob;x=y@d.test:5099;transport=tcp;p=1",
            ),
            ("$rp = \"5098\";", "$rp", "5098"),
            (
                "$rp = $null;",
                "$ru|$rp",
                "sip:bob;x=y@home.test;transport=tcp;p=1|5060",
            ),
            ("$rp = 70000;", "$rp", "5061"),
            (
                "$du = \"sip:n.test:5070;transport=tcp\";",
                "$du|$dd|$dp|$dP|$nh(d)",
                "sip:n.test:5070;transport=tcp|n.test|5070|tcp|n.test",
            ),
            ("$du = \"sip:n.test\"; $du = $null;", "$du", "<null>"),
            (
                "$fu = \"sip:new@n.test\"; $fU = \"z\";",
                "$fu|$fU",
                "sip:alice@a.test:5066;y=2|alice",
            ),
            (
                "$br = \"sip:b1@b.test\"; $br = \"sip:b2@b.test\";",
                "$br|$bR|$branch(count)|$(branch(uri)[-1])",
                "sip:b1@b.test|sip:b1@b.test, sip:b2@b.test|2|sip:b2@b.test",
            ),
            (
                "append_branch(\"sip:b3@b.test\", \"0.5\");",
                "$(branch(q)[0])|$ds|$bR",
                "500|Contact: <sip:b3@b.test>;q=0.5|<sip:b3@b.test>;q=0.5",
            ),
            (
                "$ru = \"sip:z@z.test\"; append_branch();",
                "$branch(uri)|$ds",
                "sip:z@z.test|Contact: <sip:z@z.test>, <sip:z@z.test>",
            ),
            (
                "$br = \"sip:b@b.test\"; $(branch(q)[0]) = 250;
                 $(branch(uri)[0]) = \"sip:c@c.test\";",
                "$bR",
                "<sip:c@c.test>;q=0.25",
            ),
            (
                "$mf = 5; setflag(1); setbflag(2); setsflag(3);",
                "$mf|$mF|$bf|$sf",
                "7|00000007|4|8",
            ),
            (
                "$avp(x) = 1; $avp(x) = \"two\"; $avp(i:10) = 3; $avp(s:x) = 4;",
                "$avp(x)|$(avp(x)[1])|$(avp(x)[2])|$(avp(x)[3])|$(avp(x)[-1])|\
                 $(avp(x)[*])|$avp(i:10)|$cnt($avp(x))",
                "4|two|1|<null>|<null>|4, two, 1|3|3",
            ),
            (
                "$avp(x) = 1; $avp(x) = 2; $avp(x) = $null;",
                "$(avp(x)[*])",
                "1",
            ),
            (
                "$avp(x) = 1; $avp(x) = 2; $(avp(x)[*]) = 3;",
                "$(avp(x)[*])",
                "3",
            ),
            (
                "$avp(x) = 1; $avp(x) = 2; $(avp(x)[*]) = $null;",
                "$avp(x)|$cnt($avp(x))",
                "<null>|0",
            ),
            (
                "$xavp(a=>f) = 1; $xavp(a=>f) = 2; $xavp(a[0]=>g) = \"g\";",
                "$xavp(a=>f)|$xavp(a[1]=>f)|$xavp(a=>g)|$xavp(a[1]=>g)|$cnt($xavp(a))",
                "2|1|g|<null>|2",
            ),
            (
                "$xavp(a=>f) = 1; $xavp(a=>f) = 2; $xavp(a) = $null;",
                "$xavp(a=>f)",
                "1",
            ),
            ("$xavi(A=>f) = 1;", "$xavi(a=>F)|$xavp(a=>f)", "1|<null>"),
            (
                "$xavu(a=>f) = 1; $xavu(a=>f) = 2; $xavu(a=>g) = 3;",
                "$xavu(a=>f)|$xavu(a=>g)",
                "2|3",
            ),
            ("$var(v) = \"t\"; $var(v) = $null;", "$var(v)|$vz(v)", "0|0"),
            (
                "$vn(v) = 5; $vn(w) = 1; $vn(w) = $null;",
                "$vn(v)|$vn(w)",
                "5|<null>",
            ),
            (
                "$sbranch(uri) = \"sip:s@s.test\"; $sbranch(dst_uri) = \"sip:d.test\"; \
                 $sbranch(q) = 300; $sbranch(flags) = 5; sbranch_append();",
                "$sbranch(uri)|$(branch(uri)[0])|$(branch(dst_uri)[0])|$(branch(q)[0])|\
                 $(branch(flags)[0])",
                "sip:s@s.test|sip:s@s.test|sip:d.test|300|5",
            ),
            (
                "$sbranch(uri) = \"sip:s@s.test\"; sbranch_set_ruri(); sbranch_reset();",
                "$ru|$sbranch(uri)",
                "sip:s@s.test|<null>",
            ),
            (
                "xavp_params_explode(\"a=b;c=\\\"d e\\\";f\", \"xp\");",
                "$xavp(xp=>a)|$xavp(xp=>c)|$xavp(xp=>f)",
                "b|d e|",
            ),
            ("$shv(shared) = 9;", "$shv(shared)|$shvinc(shared)", "9|10"),
            (
                "$fs = \"udp:192.0.2.101:5080\";",
                "$fs|$fsn",
                "udp:192.0.2.101:5080|<null>",
            ),
            (
                "$fs = \"192.0.2.100:5060\";",
                "$fs|$fsn",
                "udp:192.0.2.100:5060|out",
            ),
            (
                "$fs = \"udp:[2001:db8::100]:5060\";",
                "$fs",
                "udp:[2001:db8::100]:5060",
            ),
            ("$fsn = \"out\"; $fs = $null;", "$fs", "<null>"),
            ("$fs = \"udp:192.0.2.7:5060\";", "$fs", "<null>"),
        ];
        for (statements, format, want) in table {
            assert_eq!(value(statements, format, INVITE), want, "{statements}");
        }
    }

    #[test]
    fn what_changes_of_the_parties_leave_as() {
        const FROM: &str = "-f: \"Alice, A.\" <sip:alice@a.test:5066;y=2>;tag=77";
        const TO: &str = "-To: <sip:bob@home.test>";
        let table: [(&str, &[&str]); 10] = [
            (
                "$fu = \"sip:n@n.test\";",
                &[FROM, "+f: \"Alice, A.\" <sip:n@n.test>;tag=77"],
            ),
            (
                "$fU = \"n\"; $fd = \"n.test\";",
                &[FROM, "+f: \"Alice, A.\" <sip:n@n.test:5066;y=2>;tag=77"],
            ),
            (
                "$fU = $null;",
                &[FROM, "+f: \"Alice, A.\" <sip:a.test:5066;y=2>;tag=77"],
            ),
            (
                "$fn = \"New\";",
                &[FROM, "+f: New <sip:alice@a.test:5066;y=2>;tag=77"],
            ),
            (
                "$fn = $null;",
                &[FROM, "+f:  <sip:alice@a.test:5066;y=2>;tag=77"],
            ),
            ("$tn = \"New\";", &[TO, "+To: New <sip:bob@home.test>"]),
            ("$tu = \"tel:123\";", &[TO, "+To: <tel:123>"]),
            ("$tu = \"no uri\";", &[]),
            ("$tn = \"a\\r\\nEvil: x\";", &[]),
            ("$tU = \"a@b\";", &[]),
        ];
        for (statements, want) in table {
            assert_eq!(
                run(statements, INVITE).difference(INVITE),
                want,
                "{statements}"
            );
        }
    }

    #[test]
    fn there_is_a_bound_on_branches() {
        let ran = run(
            "$var(i) = 0; while ($var(i) < 40) { $br = \"sip:b@b.test\"; $var(i) = $var(i) + 1; }",
            INVITE,
        );
        assert_eq!(ran.work.appended.len(), 11);
        assert!(!ran.complaints.is_empty());
    }
}
