"""What the programs with tasks share: who starts them, and the coroutines that most of them are in."""


class Scene(object):
    """What the shapes of one loop share. It starts their tasks, and keeps alive what they wait for."""

    def __init__(self, loop):
        self.loop = loop
        self.kept = []
        self.unparked = 0

    def start(self, coroutine, name=None):
        task = self.loop.create_task(coroutine)
        if name is not None and hasattr(task, "set_name"):
            task.set_name(name)
        self.kept.append(task)
        return task

    def future(self):
        future = self.loop.create_future()
        self.kept.append(future)
        return future

    def parked(self):
        self.unparked -= 1

    def run(self, shapes):
        """Starts the shapes as tasks; `asyncio.wait_for` and the like need one around them."""
        for shape in shapes:
            self.unparked += 1
            self.start(shape(self), shape.__name__)


async def parks(scene):
    await scene.future()


async def deep(scene, depth):
    if depth:
        return await deep(scene, depth - 1)
    await scene.future()
