// Stands in for libFuzzer's main: runs the target once on every file of the folders named on the
// command line, so that seeds and past crashes are replayed by every build.
#include <dirent.h>

#include "base/file.h"
#include "fuzz/fuzz.h"

int main(int argc, char **argv)
{
    int n_files = 0;
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (!dir) {
            fprintf(stderr, "cannot open corpus folder '%s'\n", argv[i]);
            return 1;
        }
        for (struct dirent *e; (e = readdir(dir)) != NULL;) {
            if (e->d_name[0] == '.') continue;
            char *path = qw_file_join(argv[i], e->d_name);
            qw_file file;
            qw_error err;
            if (!path || qw_file_open(&file, path, &err) != QW_OK) {
                fprintf(stderr, "cannot read '%s'\n", e->d_name);
                return 1;
            }
            LLVMFuzzerTestOneInput(file.data, (size_t)file.size);
            n_files++;
            qw_file_close(&file);
            free(path);
        }
        closedir(dir);
    }
    printf("replayed %d files\n", n_files);
    return n_files > 0 ? 0 : 1;
}
