"""The page element that plays a film on a canvas: JavaScript without a library, as text, since a report is one file.

It interpolates linearly between frames, colours by the page's own variables, draws trails up to the present time, and
starts by itself only where the reader has not asked for reduced motion.
"""

from string import Template

PLAYER = Template(
    """<figure class="film">
<canvas role="img" aria-label="Animation of $label"></canvas>
<div class="controls">
<button type="button" aria-label="Play or pause">Play</button>
<input type="range" min="0" max="1" step="any" value="0" aria-label="Time">
<output></output>
<label>speed
<select aria-label="Playback speed"><option>0.25<option>0.5<option selected>1<option>2<option>4</select></label>
</div>
<noscript>The animation needs JavaScript, which this file brings along but the browser does not run.</noscript>
<script type="application/json">$film</script>
</figure>
<script>
(() => {
  const root = document.currentScript.previousElementSibling;
  const film = JSON.parse(root.querySelector('script').textContent);
  const canvas = root.querySelector('canvas'), pen = canvas.getContext('2d');
  const button = root.querySelector('button'), slider = root.querySelector('input');
  const clock = root.querySelector('output'), speed = root.querySelector('select');
  const [[left, right], [bottom, top]] = film.limits;
  const times = film.times, last = times.length - 1, begin = times[0], span = times[last] - begin || 1;
  // Motions of 2 to 12 time units run at one unit a second; others are brought to six seconds.
  const seconds = span >= 2 && span <= 12 ? span : 6;
  const edge = film.equal ? 12 : 44;
  let position = 0, playing = false, before = 0, rest = 0;
  let width = 0, height = 0, scaleX = 1, scaleY = 1, originX = 0, originY = 0;
  const X = x => originX + (x - left) * scaleX, Y = y => originY - (y - bottom) * scaleY;
  const color = role => getComputedStyle(root).getPropertyValue('--' + role).trim() || '#2f6fde';

  function layout() {
    width = root.clientWidth;
    const ideal = film.equal ? width * (top - bottom) / (right - left) : width * 0.5;
    height = Math.max(170, Math.min(ideal, 460, window.innerHeight * 0.7));
    const ratio = window.devicePixelRatio || 1;
    canvas.style.height = height + 'px';
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    scaleX = (width - 2 * edge) / (right - left);
    scaleY = (height - 2 * edge) / (top - bottom);
    if (film.equal) scaleX = scaleY = Math.min(scaleX, scaleY);
    originX = (width - scaleX * (right - left)) / 2;
    originY = height - (height - scaleY * (top - bottom)) / 2;
    draw();
  }

  function path(numbers, closed) {
    pen.beginPath();
    for (let i = 0; i < numbers.length; i += 2) pen.lineTo(X(numbers[i]), Y(numbers[i + 1]));
    if (closed) pen.closePath();
  }

  const painters = {
    line(numbers, role) {
      pen.lineWidth = role === 'ground' ? 1.5 : 3;
      path(numbers);
      pen.stroke();
    },
    polygon(numbers) { fill(() => path(numbers, true)); },
    circle(numbers) {
      const [x, y, radius] = numbers;
      fill(() => {
        pen.beginPath();
        pen.ellipse(X(x), Y(y), Math.max(1.5, radius * scaleX), Math.max(1.5, radius * scaleY), 0, 0, 2 * Math.PI);
      });
    },
    arrow(numbers) {
      const [x0, y0, x1, y1] = [X(numbers[0]), Y(numbers[1]), X(numbers[2]), Y(numbers[3])];
      const length = Math.hypot(x1 - x0, y1 - y0);
      if (length < 2) return;
      const head = Math.min(8, length * 0.6), angle = Math.atan2(y1 - y0, x1 - x0);
      const corner = turn => [x1 - head * Math.cos(angle + turn), y1 - head * Math.sin(angle + turn)];
      pen.lineWidth = 2;
      pen.beginPath();
      pen.moveTo(x0, y0);
      pen.lineTo(x1 - 0.7 * head * Math.cos(angle), y1 - 0.7 * head * Math.sin(angle));
      pen.stroke();
      pen.beginPath();
      pen.moveTo(x1, y1);
      pen.lineTo(...corner(0.45));
      pen.lineTo(...corner(-0.45));
      pen.fill();
    },
    trail(numbers) {
      pen.beginPath();
      pen.arc(X(numbers[0]), Y(numbers[1]), 3.5, 0, 2 * Math.PI);
      pen.fill();
    },
  };

  function fill(outline) {
    outline();
    pen.globalAlpha = 0.28;
    pen.fill();
    pen.globalAlpha = 1;
    pen.lineWidth = 1.8;
    pen.stroke();
  }

  function paint(primitives) {
    for (const [kind, role, numbers] of primitives) {
      pen.strokeStyle = pen.fillStyle = color(role);
      painters[kind](numbers, role);
    }
  }

  function axes() {
    pen.font = '11px system-ui, sans-serif';
    pen.fillStyle = color('muted');
    pen.strokeStyle = color('grid');
    pen.lineWidth = 1;
    for (const [low, high, across] of [[left, right, true], [bottom, top, false]]) {
      const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
      const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= raw);
      for (let v = Math.ceil(low / step) * step; v <= high; v += step) {
        const text = String(+v.toPrecision(6) || 0);
        pen.beginPath();
        if (across) { pen.moveTo(X(v), Y(bottom)); pen.lineTo(X(v), Y(top)); }
        else { pen.moveTo(X(left), Y(v)); pen.lineTo(X(right), Y(v)); }
        pen.stroke();
        pen.textAlign = across ? 'center' : 'right';
        pen.fillText(text, across ? X(v) : X(left) - 6, across ? Y(bottom) + 15 : Y(v) + 4);
      }
    }
  }

  function moment() {
    const place = position * last, k = Math.min(Math.floor(place), Math.max(last - 1, 0)), s = place - k;
    const here = film.frames[k], next = film.frames[Math.min(k + 1, last)];
    return [k, here.map((primitive, i) => {
      const other = next[i];
      if (!other || other[0] !== primitive[0] || other[2].length !== primitive[2].length) return primitive;
      return [primitive[0], primitive[1], primitive[2].map((v, j) => v + s * (other[2][j] - v))];
    })];
  }

  function trails(k, now) {
    pen.lineWidth = 1.6;
    now.forEach(([kind, role, numbers], i) => {
      if (kind !== 'trail') return;
      const points = film.frames.map(frame => frame[i]).filter(p => p && p[0] === 'trail').map(p => p[2]);
      pen.strokeStyle = color(role);
      pen.globalAlpha = 0.2;
      path(points.flat());
      pen.stroke();
      pen.globalAlpha = 0.9;
      path([...points.slice(0, k + 1).flat(), ...numbers]);
      pen.stroke();
      pen.globalAlpha = 1;
    });
  }

  function draw() {
    pen.clearRect(0, 0, width, height);
    pen.lineCap = pen.lineJoin = 'round';
    if (!film.equal) axes();
    paint(film.scenery);
    const [k, now] = moment();
    trails(k, now);
    paint(now);
    slider.value = position;
    clock.value = 't = ' + (begin + position * span).toPrecision(3) + ' of ' + (+times[last].toPrecision(4));
  }

  function step(now) {
    if (!playing) return;
    const elapsed = before ? (now - before) / 1000 : 0;
    before = now;
    if (position >= 1) {
      rest += elapsed;
      if (rest > 1) { position = rest = 0; }
    } else {
      position = Math.min(1, position + elapsed * speed.value / seconds);
    }
    draw();
    requestAnimationFrame(step);
  }

  function play(on) {
    playing = on;
    before = 0;
    button.textContent = on ? 'Pause' : 'Play';
    if (on) requestAnimationFrame(step);
  }

  button.onclick = () => { if (!playing && position >= 1) position = 0; play(!playing); };
  slider.oninput = () => { play(false); position = +slider.value; draw(); };
  new ResizeObserver(layout).observe(root);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  layout();
  if (!matchMedia('(prefers-reduced-motion: reduce)').matches) play(true);
})();
</script>
"""
)
