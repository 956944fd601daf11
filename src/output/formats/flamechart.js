
"use strict";
(function () {
    const get = (id) => document.getElementById(id);
    let svg, chart, calls, from, to, width;

    window.addEventListener("load", () => {
        svg = document.documentElement;
        chart = get("chart");
        const end = Number(chart.dataset.end);
        calls = Array.from(chart.getElementsByClassName("call"), (group) => ({
            group,
            rect: group.querySelector("rect"),
            text: group.querySelector("text"),
            title: group.querySelector("title").textContent,
            start: Number(group.dataset.start),
            length: Number(group.dataset.length),
        }));
        for (const call of calls) call.fill = call.rect.getAttribute("fill");
        svg.removeAttribute("width");
        svg.removeAttribute("viewBox");
        const fit = () => {
            width = svg.clientWidth || window.innerWidth;
            chart.setAttribute("width", width - 20);
            for (const id of ["search", "matched"]) get(id).setAttribute("x", width - 10);
            for (const id of ["title", "subtitle"]) get(id).setAttribute("x", width / 2);
            draw();
        };
        from = 0;
        to = end;
        fit();
        window.addEventListener("resize", fit);
        svg.addEventListener("click", (event) => {
            const call = find(event.target);
            if (call) zoom(call.start, call.start + call.length);
            else if (event.target.id === "unzoom") zoom(0, end);
            else if (event.target.id === "search") ask();
        });
        svg.addEventListener("mouseover", (event) => {
            const call = find(event.target);
            get("details").textContent = call ? call.title : " ";
        });
        window.addEventListener("keydown", (event) => {
            if (event.key === "F3" || (event.ctrlKey && event.key === "f")) {
                event.preventDefault();
                ask();
            } else if (event.key === "Escape") zoom(0, end);
        });
    });

    function find(target) {
        const group = target.closest ? target.closest(".call") : null;
        return group && calls.find((call) => call.group === group);
    }

    function zoom(start, end) {
        from = start;
        to = Math.max(end, start + 1);
        get("unzoom").classList.toggle("hide", from === 0 && to === Number(chart.dataset.end));
        draw();
    }

    function draw() {
        const scale = 100 / (to - from);
        for (const call of calls) {
            const start = Math.max(call.start, from);
            const end = Math.min(call.start + call.length, to);
            const seen = end > start;
            call.group.classList.toggle("hide", !seen);
            if (!seen) continue;
            const x = ((start - from) * scale).toFixed(4) + "%";
            call.rect.setAttribute("x", x);
            call.text.setAttribute("x", x);
            call.rect.setAttribute("width", ((end - start) * scale).toFixed(4) + "%");
            const fits = Math.floor(((end - start) * scale * (width - 20)) / 100 / 7.3 - 1);
            const name = call.title.replace(/ \([^(]*\)$/, "");
            call.text.textContent = fits < 3 ? "" : name.length <= fits ? name : name.slice(0, fits - 2) + "..";
        }
        const times = chart.getElementsByClassName("time");
        for (let tenth = 0; tenth < times.length; tenth++) {
            times[tenth].textContent = time(from + ((to - from) * tenth) / 10, to - from);
        }
    }

    // Enough digits to tell neighbouring ticks apart.
    function time(us, range) {
        const digits = Math.max(0, Math.min(6, Math.ceil(7 - Math.log10(range))));
        return (us / 1e6).toFixed(digits) + " s";
    }

    function ask() {
        if (get("search").classList.contains("on")) search(null);
        else {
            const text = prompt("Search for a function or file (regular expression)", "");
            if (text) search(text);
        }
    }

    function search(text) {
        let pattern = null;
        try {
            if (text !== null) pattern = new RegExp(text);
        } catch (error) {
            get("matched").textContent = String(error.message);
            return;
        }
        let matched = 0;
        for (const call of calls) {
            const hit = pattern !== null && pattern.test(call.title);
            call.rect.setAttribute("fill", hit ? "rgb(230,0,230)" : call.fill);
            matched += hit;
        }
        get("search").classList.toggle("on", pattern !== null);
        get("search").textContent = pattern ? "Reset Search" : "Search";
        get("matched").textContent = pattern ? "Matched: " + matched + " calls" : " ";
    }
})();
