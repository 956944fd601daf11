//! Pictures in a browser, where there is one: zoom, search, time, and windows of a phone's width.

use std::path::Path;

use super::{TIMED, file, output_of, with_markers};
use crate::output::{Format, Presentation, collapsed, no_source, test_profiles, write_difference};
use crate::profile::{Keep, Profile};

/// Runs a script in a picture after it was loaded; gives what the script returned.
fn in_browser(format: Format, profile: &Profile, script: &str) -> Option<String> {
    let written = file(format, profile, with_markers());
    let svg = std::fs::read_to_string(&written.path).unwrap();
    run(&written.path, &svg, script)
}

/// Runs a script in a picture that is written to `path`.
fn run(path: &Path, svg: &str, script: &str) -> Option<String> {
    let (start, _) = svg.trim_end().rsplit_once("</svg>").unwrap();
    let driven = format!(
        "{start}<text id=\"result\"></text><script><![CDATA[\
         window.addEventListener('load', () => setTimeout(async () => {{ let result;\
         try {{ result = await (async () => {{ {script} }})(); }} catch (error) {{ result = 'failed: ' + error; }}\
         document.getElementById('result').textContent = result; }}, 100));\
         ]]></script></svg>"
    );
    std::fs::write(path, driven).unwrap();
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=1200,600",
        "--virtual-time-budget=20000",
        "--dump-dom",
    ];
    let dom = output_of("chromium", &arguments, path)?;
    let (_, result) = dom.split_once("<text id=\"result\">").unwrap_or_else(|| panic!("no result in {dom}"));
    Some(result.split("</text>").next().unwrap().to_owned())
}

const TOOLS: &str = "
    const title = (group) => group.querySelector('title').textContent;
    const groups = () => Array.from(document.querySelectorAll('.frame'));
    const shown = () => groups().filter((group) => !group.classList.contains('hide'));
    const group = (name) => groups().find((group) => title(group).startsWith(name));
    const send = (element, type) => element.dispatchEvent(new MouseEvent(type, { bubbles: true }));
    const fire = (name, type) => send(group(name).querySelector('rect'), type);
    const button = (id) => send(document.getElementById(id), 'click');
    const press = (key) => window.dispatchEvent(new KeyboardEvent('keydown', { key }));
    const text = (id) => document.getElementById(id).textContent;
    const frame = () => new Promise((done) => setTimeout(done, 100));
    const search = (text) => {
        const input = document.getElementById('search');
        input.value = text;
        input.dispatchEvent(new Event('input'));
    };
    const hits = () => document.querySelectorAll('.hit').length;
";

#[test]
fn a_browser_zooms_and_searches_in_a_flame_graph() {
    let script = format!(
        "{TOOLS} const all = shown().length; fire('Thread.run', 'mouseover'); const hover = text('details');
         fire('Thread.run', 'click'); await frame(); const zoomed = shown().map(title).join(', ');
         const width = group('Thread.run').querySelector('rect').getAttribute('width');
         const part = group('all').classList.contains('part');
         button('unzoom'); await frame(); const again = shown().length === all;
         search('^Sp.n.*:5'); const none = hits(); search('^sp.n.*:5'); const found = text('matched') + ' ' + hits();
         fire('Thread.run', 'click'); await frame(); const inside = text('matched');
         press('Escape'); await frame(); const reset = text('matched').trim() + hits() + (shown().length === all);
         return [hover, zoomed, width, part, again, none, found, inside, reset].join(' | ');"
    );
    let Some(result) = in_browser(Format::Flamegraph, &test_profiles::usual(Keep::default()), &script) else { return };
    let parts: Vec<_> = result.split(" | ").collect();
    assert_eq!(parts[0], "Thread.run (threading.py:982) (9,000 ms, 36.00%)", "{result}");
    assert!(parts[1].contains("dumps") && !parts[1].contains("A.meth"), "{result}");
    let width: f64 = parts[2].parse().unwrap();
    assert!((1_100.0..1_200.0).contains(&width), "{result}");
    let rest = ["true", "true", "0", "Matched: 12,000 ms, 48.00% 2", "Matched: 8,000 ms, 88.89%", "0true"];
    assert_eq!(parts[3..], rest, "{result}");
}

#[test]
fn a_browser_zooms_and_searches_in_a_flame_chart() {
    let script = format!(
        "{TOOLS} const all = shown().length; fire('dumps', 'mouseover'); const hover = text('details');
         fire('dumps', 'click'); await frame();
         const zoomed = shown().some((one) => title(one).startsWith('A.meth')) + ' ' + (shown().length < all);
         const axis = document.querySelector('.time').textContent;
         button('unzoom'); await frame(); const again = shown().length === all;
         search('^sp.n'); const matched = text('matched') + hits();
         search('('); const bad = text('matched').trim() !== '' && hits() === 0;
         press('Escape'); press('w'); press('w'); await frame();
         const closer = document.querySelectorAll('.time')[0].textContent;
         press('s'); press('s'); press('s'); await frame();
         const wider = document.querySelectorAll('.time')[0].textContent;
         return [hover, zoomed, axis, again, matched, bad, closer, wider].join(' | ');"
    );
    let Some(result) = in_browser(Format::Flamechart, &test_profiles::usual(TIMED), &script) else { return };
    let parts: Vec<_> = result.split(" | ").collect();
    assert_eq!(parts[0], "dumps (__init__.py:2) (1.000 s, 10.00%, at 9.000 s)", "{result}");
    let rest = ["true true", "9.0 s", "true", "Matched: 14.000 s in 3 calls3", "true", "2 s", "0 s"];
    assert_eq!(parts[1..], rest, "{result}");
}

/// A stretch of time is chosen with the mouse: seconds 4 to 6 of 10, then one second to the left.
#[test]
fn a_browser_shows_a_stretch_of_time() {
    let script = format!(
        "{TOOLS} const inner = Number(document.getElementById('chart').getAttribute('width'));
         const mouse = (type, seconds, whole, y, target) => (target || document.documentElement).dispatchEvent(
             new PointerEvent(type,
                 {{ bubbles: true, pointerId: 1, clientX: 10 + inner * seconds / whole, clientY: y }}));
         document.documentElement.setPointerCapture = () => {{}};
         const bar = document.querySelector('#axis rect');
         mouse('pointerdown', 4, 10, 100, bar); mouse('pointermove', 5, 10, 100); mouse('pointermove', 6, 10, 100);
         const marked = Number(document.getElementById('selected').getAttribute('width')) / inner;
         mouse('pointerup', 6, 10, 100); await frame();
         const times = () => Array.from(document.querySelectorAll('.time'), (one) => one.textContent);
         const stretch = [times()[0], times().slice(-1)[0]].join(' to ');
         const selects = () => document.getElementById('title').dispatchEvent(
             new Event('selectstart', {{ bubbles: true, cancelable: true }}));
         const before = selects();
         mouse('pointerdown', 0.5, 2, 300); const meanwhile = selects();
         mouse('pointermove', 1.5, 2, 300); mouse('pointerup', 1.5, 2, 300);
         await frame(); const moved = [times()[0], times().slice(-1)[0]].join(' to ');
         const turn = (deltaY) => document.documentElement.dispatchEvent(
             new WheelEvent('wheel', {{ bubbles: true, cancelable: true, clientX: 10, deltaY }}));
         turn(1e4); turn(1e4); turn(1e4); await frame();
         const turned = [times()[0], times().slice(-1)[0]].join(' to ');
         return [marked.toFixed(3), stretch, moved, turned, before, meanwhile].join(' | ');"
    );
    let Some(result) = in_browser(Format::Flamechart, &test_profiles::usual(TIMED), &script) else { return };
    assert_eq!(result, "0.200 | 4.0 s to 6.0 s | 3.0 s to 5.0 s | 0 s to 10 s | true | false");
}

#[test]
fn a_browser_keeps_the_head_in_sight() {
    let mut profile = test_profiles::usual(Keep::default());
    let (thread, _) = profile.threads().next().unwrap();
    let deep = test_profiles::python(&mut profile, "deep", "/a.py", 3);
    let stack = test_profiles::stack(&mut profile, &[deep; 3_000]);
    profile.add_sample(thread, stack, 20_000_000, 10_000_000, crate::profile::Flags::NONE);
    let script = format!(
        "{TOOLS} window.scrollTo(0, 20000); window.dispatchEvent(new Event('scroll')); await frame();
         const at = (id) => document.getElementById(id).getBoundingClientRect();
         const isSeen = (id) => at(id).top >= 0 && at(id).bottom < 110 && at(id).width > 0;
         return window.scrollY + ['title', 'search', 'details', 'matched'].map((id) => ' ' + isSeen(id)).join('');"
    );
    let Some(result) = in_browser(Format::Flamegraph, &profile, &script) else { return };
    assert_eq!(result, "20000 true true true true");
}

#[test]
fn a_browser_runs_nothing_that_a_name_holds() {
    for format in [Format::Flamegraph, Format::Flamechart] {
        let script = format!("{TOOLS} return shown().length + ' ' + document.querySelectorAll('script').length;");
        let Some(result) = in_browser(format, &test_profiles::hostile(TIMED), &script) else { return };
        let (frames, scripts) = result.split_once(' ').unwrap();
        assert!(frames.parse::<usize>().unwrap() >= 48, "{format:?}: {result}");
        assert_eq!(scripts, "2", "its own and the test's");
    }
}

/// What of a picture's head lies over something else of it or outside of the window, at several widths, with a frame
/// zoomed to and something found.
const FAULTS_OF_HEAD: &str = "
    const faults = [];
    const box = (element) => element.getBoundingClientRect();
    const parts = () => [
        ...document.querySelectorAll('#head > text:not(:has(tspan)), #head tspan, #head .swatch, #controls > *'),
        ...document.querySelectorAll('#axis .time'), group('all').querySelector('rect'),
    ].filter((part) => box(part).width > 0 && (part.textContent || 'x').trim() !== ''
        && getComputedStyle(part).visibility === 'visible');
    const name = (part) => part.id || part.textContent || part.tagName;
    const check = (width, when) => {
        const all = parts();
        for (const [at, part] of all.entries()) {
            const one = box(part);
            if (one.left < 0 || one.right > width + 1) faults.push(`${width} ${when}: ${name(part)} is outside`);
            for (const other of all.slice(at + 1)) {
                const two = box(other);
                const across = Math.min(one.right, two.right) - Math.max(one.left, two.left);
                const along = Math.min(one.bottom, two.bottom) - Math.max(one.top, two.top);
                if (across > 1 && along > 1) faults.push(`${width} ${when}: ${name(part)} over ${name(other)}`);
            }
        }
        if (box(document.getElementById('search')).width < 80) faults.push(`${width} ${when}: no room to search`);
    };
    for (const width of [1200, 800, 600, 500, 390, 320]) {
        // No window of a headless Chromium is narrower than 500 pixels.
        Object.defineProperty(document.documentElement, 'clientWidth', { value: width, configurable: true });
        window.dispatchEvent(new Event('resize')); await frame(); check(width, 'at first');
        fire('spin', 'mouseover'); check(width, 'hovered');
        search('spin|meth'); fire('spin', 'click'); await frame(); check(width, 'zoomed');
        press('Escape'); await frame();
    }
";

#[test]
fn a_browser_keeps_all_of_a_head_apart_and_in_sight_at_every_width() {
    let usual = test_profiles::usual(TIMED);
    let script = format!("{TOOLS} {FAULTS_OF_HEAD} return 'faults: ' + faults.join('; ');");
    for format in [Format::Flamegraph, Format::Flamechart] {
        // A chart has no frame for all together.
        let script =
            script.replace("group('all')", if format == Format::Flamechart { "groups()[0]" } else { "group('all')" });
        let Some(result) = in_browser(format, &usual, &script) else { return };
        assert_eq!(result, "faults: ", "{format:?}");
    }
    let text =
        |spin: u32| format!("<module> (app.py:9);spin (app.py:5) {spin}\n<module> (app.py:9);meth (app.py:7) 3000\n");
    let [before, after] = [text(1_000), text(3_000)].map(|text| collapsed::read(text.as_bytes()).unwrap());
    let written = file(Format::Flamegraph, &usual, with_markers());
    let mut svg = vec![];
    let presentation = Presentation::default();
    write_difference(Format::Flamegraph, [&before, &after], &presentation, &no_source, &[], &mut svg).unwrap();
    let Some(result) = run(&written.path, &String::from_utf8(svg).unwrap(), &script) else { return };
    assert_eq!(result, "faults: ", "a difference");
}
