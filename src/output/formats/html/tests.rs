use std::io::Read;
use std::process::Command;

use serde_json::Value;

use super::*;
use crate::output::formats::{Format, raw};
use crate::output::{no_source, test_profiles};
use crate::profile::{Flags, Keep, StackId};

const TIMED: Keep = Keep { timeline: true, journal: false };
const PLAIN: Presentation = Presentation {
    lines: Lines::Current,
    columns: false,
    full_file_names: false,
    threads: false,
    processes: false,
    upward: false,
};

fn page(profile: &Profile, sources: &SourceText<'_>) -> String {
    let mut bytes = vec![];
    write(profile, &PLAIN, sources, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The data of a page as its script finds it for the first picture.
fn data(page: &str) -> Value {
    unpacked(page, "data")
}

/// And what it unpacks after that: source and times.
fn rest(page: &str) -> Value {
    unpacked(page, "rest")
}

fn unpacked(page: &str, id: &str) -> Value {
    let (_, behind) = page.split_once(&format!("id=\"{id}\">")).unwrap();
    let (packed, _) = behind.split_once('<').unwrap();
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("{letter} in the data"),
    };
    let mut bytes = vec![];
    for four in packed.trim_end_matches('=').as_bytes().chunks(4) {
        let bits =
            four.iter().enumerate().fold(0u32, |bits, (at, letter)| bits | u32::from(value(*letter)) << (18 - 6 * at));
        bytes.extend(&bits.to_be_bytes()[1..four.len()]);
    }
    let mut text = String::new();
    flate2::read::DeflateDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}

/// The stacks of a page in the words of the raw format, with their times in intervals of 10 ms, threads together.
fn stacks(data: &Value) -> std::collections::BTreeMap<String, u64> {
    let (functions, lines) = (numbers(&data["frame_functions"]), numbers(&data["frame_lines"]));
    let label = |frame: usize| {
        let function = &data["functions"][functions[frame] as usize];
        let name = function[0].as_str().unwrap();
        match (function[1].as_i64().unwrap(), lines[frame]) {
            (-1, _) => name.to_owned(),
            (file, line) => format!("{name} ({}:{line})", data["files"][file as usize][0].as_str().unwrap()),
        }
    };
    let mut paths = vec![vec![]];
    for (up, frame) in numbers(&data["node_ups"]).into_iter().zip(numbers(&data["node_frames"])) {
        let last: &Vec<String> = paths.last().unwrap();
        let mut path = last[..last.len() - up as usize].to_vec();
        path.push(label(frame as usize));
        paths.push(path);
    }
    let mut stacks = std::collections::BTreeMap::new();
    for thread in data["threads"].as_array().unwrap() {
        let mut node = 0;
        for (step, weight) in numbers(&thread["nodes"]).into_iter().zip(numbers(&thread["weights"])) {
            node += step as usize;
            *stacks.entry(paths[node].join(";")).or_default() += weight / 10_000;
        }
    }
    stacks
}

#[test]
fn threads_are_apart_at_first_where_they_are_asked_for() {
    let profile = test_profiles::usual(TIMED);
    for (threads, group) in [(true, "thread"), (false, "all")] {
        let mut text = vec![];
        let presentation = Presentation { threads, ..PLAIN };
        write(&profile, &presentation, &no_source, &mut text).unwrap();
        assert!(String::from_utf8(text).unwrap().contains(&format!("data-group=\"{group}\"")), "{group}");
    }
}

#[test]
fn stacks_are_those_of_raw() {
    let profile = test_profiles::usual(TIMED);
    let mut raw_text = vec![];
    raw::write(&profile, &PLAIN, &mut raw_text).unwrap();
    let raw_text = String::from_utf8(raw_text).unwrap();
    let expected = raw_text.lines().map(|line| line.rsplit_once(' ').unwrap());
    let expected = expected.map(|(stack, count)| (stack.to_owned(), count.parse().unwrap())).collect();
    assert_eq!(stacks(&data(&page(&profile, &no_source))), expected);
}

#[test]
fn a_page_loads_nothing_and_holds_every_name_in_its_place() {
    let plain = page(&test_profiles::usual(TIMED), &no_source);
    let hostile = page(&test_profiles::hostile(TIMED), &|_| Some(test_profiles::HOSTILE.join("\n")));
    for page in [&plain, &hostile] {
        assert!(
            !page.contains("http://") && !page.contains("https://") && !page.contains(" src="),
            "it loads something"
        );
        assert!(page.contains("default-src 'none'"));
        assert_eq!(page.matches("<script").count(), 4);
        assert_eq!(page.matches("</script>").count(), 4);
        assert!(!page.contains('\u{2028}') && !page.contains('\u{202e}') && !page.contains('\0'));
    }
    let data = data(&hostile);
    let names: Vec<&str> = data["functions"].as_array().unwrap().iter().map(|one| one[0].as_str().unwrap()).collect();
    for name in test_profiles::HOSTILE.iter().filter(|name| !name.trim().is_empty()) {
        let shown = crate::output::printable(name);
        assert!(names.contains(&shown.trim()), "{shown} is not in {names:?}");
    }
}

#[test]
fn lines_of_functions_that_have_samples_come_along() {
    let text: String = (1..=400).map(|line| format!("\tline {line}\u{1b}\n")).collect();
    let page = page(&test_profiles::usual(TIMED), &|file| (file == "/home/me/prog.py").then(|| text.clone()));
    let lines = (2..=19).map(|line| format!("    line {line}\\u{{1b}}")).collect::<Vec<_>>().join("\n");
    let data = data(&page);
    let (files, pieces) = (data["files"].as_array().unwrap(), &rest(&page)["pieces"]);
    assert_eq!(pieces.as_array().unwrap().len(), files.len());
    for (file, pieces) in files.iter().zip(pieces.as_array().unwrap()) {
        let expected = if file[0] == "prog.py" { serde_json::json!([[2, lines]]) } else { serde_json::json!([]) };
        assert_eq!(*pieces, expected);
    }
}

#[test]
fn too_many_stacks_are_joined_and_no_time_is_lost() {
    let mut profile = Profile::new(TIMED);
    profile.metadata.rate_asked = 100.0;
    let process = test_profiles::process(&mut profile, 1, None, "");
    let thread = test_profiles::thread(&mut profile, process, 1, None);
    let frames: Vec<_> =
        (0..500).map(|at| test_profiles::python(&mut profile, &format!("f{at}"), "/m.py", 3)).collect();
    let base = test_profiles::stack(&mut profile, &frames[..20]);
    for number in 0..150_000usize {
        let middle = profile.push(base, frames[number / 500]);
        let stack = profile.push(middle, frames[number % 500]);
        let weight = if number < 1_000 { 20_000 } else { 10_000 };
        profile.add_sample(thread, stack, (number as u64 + 1) * 20_000, weight, Flags::ACTIVE);
    }
    let page = page(&profile, &no_source);
    assert!(page.len() < 1 << 20, "{} bytes", page.len());
    let data = data(&page);
    let stacks = stacks(&data);
    assert_eq!(stacks.values().sum::<u64>(), 151_000);
    assert!(stacks.iter().any(|(stack, _)| stack.ends_with(";…")), "what is too rare is joined");
    let doubts = data["doubts"].to_string();
    assert!(doubts.contains("too rare for this page"), "{doubts}");
    let time = numbers(&rest(&page)["times"][0]);
    assert!(time.len() / 3 <= 60_000 + 2 && data["slot_us"].as_u64() > Some(0), "{} runs", time.len() / 3);
    let end: u64 = time.chunks(3).map(|run| run[0] + run[1]).sum();
    assert!(end.abs_diff(150_000 * 20_000) <= data["slot_us"].as_u64().unwrap(), "{end}");
}

#[test]
fn every_run_is_there_where_there_are_few() {
    let page = page(&test_profiles::usual(TIMED), &no_source);
    assert_eq!(data(&page)["slot_us"], 0);
    let threads: Vec<_> = rest(&page)["times"].as_array().unwrap().iter().map(numbers).collect();
    // 4 s in one line, 4 s idle, 2 s in another line.
    let lengths: Vec<_> = threads[0].chunks(3).map(|run| (run[0], run[1])).collect();
    assert_eq!(lengths, [(0, 4_000_000), (4_000_000, 2_000_000)]);
    let without = data(&self::page(&test_profiles::usual(Keep::default()), &no_source));
    assert_eq!(without["slot_us"], Value::Null);
}

/// What a script returns that runs behind the page's own in Chromium; `None` where there is none.
fn in_browser(profile: &Profile, script: &str) -> Option<Vec<String>> {
    let source = |_: &str| Some((1..=20).map(|line| format!("line {line}\n")).collect());
    let page = page(profile, &source);
    let script = format!(
        "<script type=\"module\">{TOOLS}\ntry {{ {script} }} catch (error) {{ say(error.stack); }}\nend();\
         </script></body>"
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("page.html");
    std::fs::write(&path, page.replace("</body>", &script)).unwrap();
    let arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,700"];
    let budget = ["--virtual-time-budget=20000", "--dump-dom"];
    let user = format!("--user-data-dir={}", directory.path().join("user").display());
    let run = Command::new("chromium").args(arguments).args(budget).arg(user).arg(&path).output();
    let Ok(output) = run else {
        eprintln!("skipped: no chromium");
        return None;
    };
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let result = dom.split_once("<pre id=\"result\">").unwrap_or_else(|| panic!("no result in {dom}")).1;
    let result = result.split("</pre>").next().unwrap().replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&");
    Some(result.lines().map(str::to_owned).collect())
}

const TOOLS: &str = "
    const lines = [];
    const say = (text) => lines.push(String(text).replaceAll('\\n', ' '));
    const end = () => {
        const result = document.createElement('pre');
        result.id = 'result';
        result.textContent = lines.join('\\n');
        document.body.append(result);
    };
    const id = (name) => document.getElementById(name);
    const text = (name) => id(name).textContent;
    const settle = () => new Promise((done) => setTimeout(done, 200));
    const press = async (key, target = document.body) => {
        target.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
        await settle();
    };
    const canvas = id('canvas');
    const mouse = (type, x, row) => {
        const box = canvas.getBoundingClientRect();
        const [clientX, clientY] = [box.left + x * box.width, box.top + row * 18 + 9];
        canvas.dispatchEvent(new PointerEvent(type, { clientX, clientY, bubbles: true }));
    };
    const search = async (text) => {
        id('search').value = text;
        id('search').dispatchEvent(new Event('input'));
        await settle();
    };
    const choose = async (name, value) => {
        id(name).value = value;
        id(name).dispatchEvent(new Event('change'));
        await settle();
    };
    const rows = () => [...document.querySelectorAll('#rows [role=row]')];
    while (document.documentElement.dataset.ready !== '1') await settle();
    await settle();
";

#[test]
fn a_browser_shows_searches_and_turns_a_flame_graph() {
    let script = "
        mouse('pointermove', 0.1, 1); say(text('status'));
        await search('^SPIN'); say(text('matched')); await search('^sp.n'); say(text('matched')); await search('(');
        say(text('matched') !== ''); await search('spin'); await press('Enter', id('search')); say(text('status'));
        await press('Escape'); say(text('matched') + '|' + id('search').value);
        mouse('click', 0.6, 1); await settle(); say(text('crumbs')); say(text('status'));
        await press('ArrowDown'); say(text('status'));
        await press('ArrowUp'); await press('ArrowUp'); say(text('status'));
        await press('Enter'); say(id('crumbs').hidden);
        await press('i'); mouse('pointermove', 0.1, 1); say(text('status'));
        await choose('threads', '1'); mouse('pointermove', 0.95, 1); say(text('status'));
        await choose('threads', ''); await press('i'); await choose('group', 'thread');
        mouse('pointermove', 0.1, 1); say(text('status'));
        await press('l'); await choose('group', 'all'); mouse('pointermove', 0.5, 2); say(text('status'));
        await press('u'); mouse('pointermove', 0.1, 2); say(text('status').startsWith('Click'));
    ";
    let Some(said) = in_browser(&test_profiles::usual(TIMED), script) else { return };
    let expected = [
        "fib (child.py:2): 10.00 s, 40.0 %",
        "0 functions, in 0.0 % of the time (0.00 ms)",
        "1 function, in 56.0 % of the time (14.00 s)",
        "true",
        "spin (prog.py:2): 8.00 s, 32.0 %",
        "|",
        "all › Thread.run",
        "Thread.run (threading.py:2): 9.00 s, 36.0 %, 100.0 % of what is shown",
        "spin (prog.py:2): 8.00 s, 32.0 %, 88.9 % of what is shown",
        "all: 25.00 s, 100.0 %",
        "true",
        "spin (prog.py:2): 14.00 s, 56.0 %",
        "dumps (__init__.py:2): 1.00 s, 11.1 %",
        "thread (101): MainThread: 10.00 s, 40.0 %",
        "spin (prog.py:5): 8.00 s, 32.0 %",
        "true",
    ];
    assert_eq!(said, expected);
}

/// What is drawn before the page knows all is where the picture has it that comes then.
#[test]
fn the_first_picture_is_like_the_one_that_stays() {
    let script = "
        const bytes = Uint8Array.from(atob(text('first').trim()), (letter) => letter.charCodeAt(0));
        const { rows: first, functions } = JSON.parse(new TextDecoder().decode(bytes));
        for (const [at, boxes] of first.entries()) {
            let end = 0;
            for (const [gap, width, number] of boxes) {
                const start = end + gap;
                end = start + width;
                for (const x of [start + width / 10, end - width / 10]) {
                    mouse('pointermove', x / 1e6, at + 1);
                    const isIt = text('status').startsWith(functions[number - 1][0] + ' (');
                    if (!isIt) say(`${at} ${x} ${text('status')}`);
                }
            }
        }
        say(functions.length); say(first.length);
    ";
    let Some(said) = in_browser(&test_profiles::usual(TIMED), script) else { return };
    let stacks = stacks(&data(&page(&test_profiles::usual(TIMED), &no_source)));
    let depth = stacks.keys().map(|stack| stack.split(';').count()).max().unwrap();
    // By functions, which have several lines.
    let names = stacks.keys().flat_map(|stack| stack.split(';')).map(|label| label.split(':').next());
    let names: std::collections::BTreeSet<_> = names.collect();
    assert_eq!(said, [names.len().to_string(), depth.to_string()]);
}

#[test]
fn a_browser_shows_time_functions_and_source() {
    let script = "
        await press('t'); say(id('group').disabled); mouse('pointermove', 0.2, 2.3); say(text('status'));
        mouse('pointermove', 0.5, 2.3); say(text('status').startsWith('Click'));
        mouse('click', 0.2, 2.3); await settle(); say(id('reset').disabled); await press('Escape');
        say(id('reset').disabled); await press('t');
        await press('2'); say(rows().length + ' ' + rows()[0].textContent);
        await press('ArrowDown', id('list')); await press('ArrowDown', id('list'));
        say(rows()[1].getAttribute('aria-selected') + ' ' + document.querySelector('#around h2').textContent);
        say(document.querySelector('#around .pairs').textContent);
        document.querySelector('#heads div:nth-child(3) button').click(); await settle(); say(rows()[0].textContent);
        await search('spin|fib'); say(rows().length);
        await search('prog.py'); document.querySelector('#around button').click(); await settle();
        say(id('panel-source').hidden + ' ' + text('file-about'));
        await choose('file', [...id('file').options].find((one) => one.text.includes('prog.py')).value);
        say(document.querySelector('#code [aria-selected]').textContent);
        await press('ArrowUp', id('code')); say(document.querySelector('#code [aria-selected]').textContent);
        say(document.querySelector('#line-around').textContent);
        await press('?'); say(id('about-page').open);
        id('theme').click(); say(document.documentElement.dataset.theme);
    ";
    let Some(said) = in_browser(&test_profiles::usual(TIMED), script) else { return };
    let expected = [
        "true",
        "<module> (prog.py:2): 4.00 s, from 0.00 ms to 4.00 s",
        "true",
        "false",
        "true",
        "6 14.00 s  56.0 %14.00 s  56.0 %spinprog.py:2",
        "true fib (child.py:2): own 10.00 s, total 10.00 s",
        "10.00 s 100.0 %(outermost)",
        "0.00 ms   0.0 %6.00 s  24.0 %<module>prog.py:2",
        "2",
        "false /home/me/child.py",
        "12.00 s12.00 s5line 5",
        "2.00 s2.00 s4line 4",
        "Line 4: own 2.00 s, total 2.00 sCalled by2.00 s 100.0 %A.meth (prog.py:2)Callsnone",
        "true",
        "dark",
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said} instead of {expected}");
    }
}

#[test]
fn a_browser_copes_with_depth_and_many_functions() {
    let mut profile = Profile::new(TIMED);
    profile.metadata.rate_asked = 100.0;
    let process = test_profiles::process(&mut profile, 1, None, "");
    let thread = test_profiles::thread(&mut profile, process, 1, None);
    let deep: Vec<_> =
        (0..3_000).map(|at| test_profiles::python(&mut profile, &format!("d{at}"), "/d.py", 2)).collect();
    let deep = test_profiles::stack(&mut profile, &deep);
    profile.add_sample(thread, deep, 1_000_000, 1_000_000, Flags::ACTIVE);
    for number in 0..5_000 {
        let frame = test_profiles::python(&mut profile, &format!("f{number}"), "/f.py", 2);
        let stack = profile.push(StackId::EMPTY, frame);
        profile.add_sample(thread, stack, 1_010_000 + number * 1_000, 1_000, Flags::ACTIVE);
    }
    let script = "
        say(id('height').offsetHeight);
        id('scroll').scrollTop = 18 * 2990; await settle(); mouse('pointermove', 0.05, 5);
        say(text('status').startsWith('d29'));
        let begun = performance.now(); await press('i'); await press('u'); say(performance.now() - begun < 3000);
        await press('2'); say(id('list').getAttribute('aria-rowcount') + ' ' + (rows().length < 100));
        await press('End', id('list')); say(rows().length > 5);
    ";
    let Some(said) = in_browser(&profile, script) else { return };
    let expected = ["54018", "true", "true", "8001 true", "true"];
    assert_eq!(said, expected);
    assert_eq!(Format::from_suffix("a.html"), Some(Format::Html));
}
